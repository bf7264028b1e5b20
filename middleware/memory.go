package middleware

import (
	"container/list"
	"sync"
)

// budget is the memory for file data that all connections share. A connection
// draws on it through a lease.
//
// Two rules keep it in motion. No lease grows beyond what it leaves, and one
// that has more than its share shrinks when another has less: so n connections
// that want all they can get come to the n+1st part each, and the next one
// finds as much. And whoever waits for memory holds none that only it
// could give back (see inflow): so all that is in use is on its way to the
// store, and waiting ends with the store's next write.
type budget struct {
	mu      sync.Mutex
	total   int64
	leased  int64      // of total
	kept    int64      // of leased, by reservation
	keepers int64      // leases with a reservation
	short   int        // of them, those that got less than they wanted and less than an equal share
	queue   *list.List // of *lease: those that wait until something is free, first come first served
}

func newBudget(total int64) *budget {
	return &budget{total: total, queue: list.New()}
}

// lease is one connection's part of the budget. What a full client may send is
// reserved in it when it is granted, so that its bytes find their place; blocks
// come out of it as bytes arrive.
type lease struct {
	b      *budget
	max    int64 // it never grows beyond
	kept   int64 // stays leased also while it is not used
	used   int64 // in blocks right now
	keeper bool  // it reserves: a full client's
	short  bool
	closed bool

	wants   int64         // what take is waiting for; 0: it is not
	place   *list.Element // in the budget's queue; nil: waits for its own blocks
	granted chan struct{} // take has got what it wanted
}

const (
	// firstLease holds the initial window with room for blocks that are not full.
	firstLease = 384 << 10
	// minLease is the least with which a connection is of use: three blocks.
	minLease = 48 << 10
	// maxLease is the most that one connection gets, if the budget is large
	// enough: 1 Gbit/s over 100 ms twice, and the time of a sync.
	maxLease = 64 << 20
	// plainLease is how far a plain client may run ahead of the store. It has no
	// window: beyond this the socket is not read.
	plainLease = 4 << 20
	// minWindow is granted also where nothing is left to reserve: a client that
	// is granted nothing cannot show that it needs more. Its bytes wait in the
	// socket for memory.
	minWindow = 16 << 10
)

func (b *budget) lease(max int64) *lease {
	return &lease{b: b, max: max, granted: make(chan struct{}, 1)}
}

func (b *budget) free() int64 { return b.total - b.leased }

// restSize is what a connection reserves that is new or at rest: less and less
// as the budget fills, so that thousands of them find room.
func (b *budget) restSize() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(max(b.free()/512, minLease), firstLease)
}

// size is how much of the budget is gone to l.
func (l *lease) size() int64 { return max(l.kept, l.used) }

// change sets what l reserves and what it uses.
func (l *lease) change(kept, used int64) {
	l.b.leased -= l.size()
	l.b.kept -= l.kept
	l.kept, l.used = kept, used
	l.b.kept += l.kept
	l.b.leased += l.size()
}

// reachable returns the most that l may reserve now: as much as it leaves to
// others then, or its equal share of all while others are short of theirs. An
// eighth of the budget is for what nobody reserves, the blocks of plain
// clients.
func (l *lease) reachable() int64 {
	room := l.kept + max(0, min(l.b.free(), l.b.reservable()-l.b.kept))
	most := l.b.share()
	if l.b.short == 0 || l.b.short == 1 && l.short {
		most = max(most, room/2)
	}
	return min(l.max, most, room)
}

func (b *budget) reservable() int64 { return b.total - b.total/8 }

// share is the equal part of each connection and of one more.
func (b *budget) share() int64 { return max(b.reservable()/(b.keepers+1), minLease) }

// reserve has l keep n bytes, or as near as the budget allows, and returns how
// many. What was granted out of a larger reservation may still come: it waits
// in the socket if there is no room.
func (l *lease) reserve(n int64) int64 {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.closed {
		return 0
	}
	if !l.keeper {
		l.keeper = true
		l.b.keepers++
	}
	n = max(n, minLease)
	l.change(min(n, l.reachable()), l.used)
	l.setShort(l.kept < min(n, l.b.share()))
	l.b.serve()
	return l.kept
}

func (l *lease) setShort(short bool) {
	switch {
	case short && !l.short:
		l.b.short++
	case !short && l.short:
		l.b.short--
	}
	l.short = short
}

// reach returns how many bytes l could reserve.
func (l *lease) reach() int64 {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return l.reachable()
}

// limit returns how large l is, or may become where it grows by itself.
func (l *lease) limit(grows bool) int64 {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if grows {
		return min(l.max, l.used+l.b.free())
	}
	return l.kept
}

// verdict is what may be done about a wish for memory.
type verdict int

const (
	granted   verdict = iota
	waitOwn           // until blocks of the connection itself are stored
	waitOther         // until something of the budget is free
)

// ask judges the wish for n bytes more. Beyond its reservation a lease grows
// to what is free, and one with nothing in use to a single block in any case:
// else its connection would stand still.
func (l *lease) ask(n int64) verdict {
	after := l.used + n
	switch {
	case after <= l.kept:
		return granted
	case l.used > 0 && after > min(l.max, max(l.b.free(), l.kept)):
		return waitOwn
	case after-l.size() > l.b.free():
		return waitOther
	}
	return granted
}

// tryTake uses n bytes if it may do so at once.
func (l *lease) tryTake(n int64) bool {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.used+n > l.kept && l.b.queue.Len() > 0 || l.ask(n) != granted {
		return false
	}
	l.change(l.kept, l.used+n)
	return true
}

// take uses n bytes, which it waits for if it must; false when stop is closed
// first.
func (l *lease) take(n int64, stop <-chan struct{}) bool {
	l.b.mu.Lock()
	l.wants = n
	l.settle()
	l.b.serve()
	l.b.mu.Unlock()
	select {
	case <-l.granted:
		return true
	case <-stop:
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.wants == 0 { // granted at the same moment
		<-l.granted
		l.change(l.kept, l.used-n)
	}
	l.forgetWish()
	l.b.serve()
	return false
}

// settle has the wish of l granted if it can be without regard to others, and
// puts it in the queue if it must wait for them.
func (l *lease) settle() {
	if l.wants == 0 {
		return
	}
	switch l.ask(l.wants) {
	case waitOwn:
		return
	case granted:
		if l.used+l.wants <= l.kept {
			l.grant()
			return
		}
	}
	if l.place == nil {
		l.place = l.b.queue.PushBack(l)
	}
}

func (l *lease) grant() {
	l.change(l.kept, l.used+l.wants)
	l.forgetWish()
	l.granted <- struct{}{}
}

func (l *lease) forgetWish() {
	l.wants = 0
	if l.place != nil {
		l.b.queue.Remove(l.place)
		l.place = nil
	}
}

// serve grants the wishes of those that wait for others, in the order in which
// they came.
func (b *budget) serve() {
	for e := b.queue.Front(); e != nil; e = b.queue.Front() {
		l := e.Value.(*lease)
		switch l.ask(l.wants) {
		case granted:
			l.grant()
		case waitOwn: // less is free than when it came: its own blocks come first
			b.queue.Remove(e)
			l.place = nil
		case waitOther:
			return
		}
	}
}

// give returns n bytes that take had used.
func (l *lease) give(n int64) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.change(l.kept, l.used-n)
	l.settle()
	l.b.serve()
}

// close gives the whole lease back.
func (l *lease) close() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.change(0, 0)
	l.closed = true
	l.setShort(false)
	if l.keeper {
		l.b.keepers--
	}
	l.b.serve()
}
