package middleware

import (
	"container/list"
	"sync"
)

// budget is the memory for file data that all connections share. A connection
// draws on it through an allotment.
//
// Two rules keep it in motion. No allotment grows beyond what it leaves, and one
// that has more than its share shrinks when another has less: so n connections
// that want all they can get come to the n+1st part each, and the next one
// finds as much. And whoever waits for memory holds none that only it
// could give back (see inflow): so all that is in use is on its way to the
// store, and waiting ends with the store's next write.
type budget struct {
	mu       sync.Mutex
	total    int64
	allotted int64      // of total
	kept     int64      // of allotted, by reservation
	keepers  int64      // allotments with a reservation
	short    int        // of them, those that got less than they wanted and less than an equal share
	queue    *list.List // of *allotment: those that wait until something is free, first come first served
}

func newBudget(total int64) *budget {
	return &budget{total: total, queue: list.New()}
}

// allotment is one connection's part of the budget. What a full client may send
// is reserved in it when it is granted, so that its bytes find their place;
// blocks come out of it as bytes arrive.
type allotment struct {
	b      *budget
	max    int64 // it never grows beyond
	kept   int64 // stays allotted also while it is not used
	used   int64 // in blocks right now
	keeper bool  // it reserves: a full client's
	short  bool
	closed bool

	wants   int64         // what take is waiting for; 0: it is not
	place   *list.Element // in the budget's queue; nil: waits for its own blocks
	granted chan struct{} // take has got what it wanted
}

const (
	// firstAllotment holds the initial window with room for blocks that are not full.
	firstAllotment = 384 << 10
	// minAllotment is the least with which a connection is of use: three blocks.
	minAllotment = 48 << 10
	// maxAllotment is the most that one connection gets, if the budget is large
	// enough: 1 Gbit/s over 100 ms twice, and the time of a sync.
	maxAllotment = 64 << 20
	// plainAllotment is how far a plain client may run ahead of the store. It has no
	// window: beyond this the socket is not read.
	plainAllotment = 4 << 20
	// minWindow is granted also where nothing is left to reserve: a client that
	// is granted nothing cannot show that it needs more. Its bytes wait in the
	// socket for memory.
	minWindow = 16 << 10
)

func (b *budget) allotment(max int64) *allotment {
	return &allotment{b: b, max: max, granted: make(chan struct{}, 1)}
}

func (b *budget) free() int64 { return b.total - b.allotted }

// restSize is what a connection reserves that is new or at rest: less and less
// as the budget fills, so that thousands of them find room.
func (b *budget) restSize() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(max(b.free()/512, minAllotment), firstAllotment)
}

// size is how much of the budget is gone to l.
func (a *allotment) size() int64 { return max(a.kept, a.used) }

// change sets what l reserves and what it uses.
func (a *allotment) change(kept, used int64) {
	a.b.allotted -= a.size()
	a.b.kept -= a.kept
	a.kept, a.used = kept, used
	a.b.kept += a.kept
	a.b.allotted += a.size()
}

// reachable returns the most that l may reserve now: as much as it leaves to
// others then, or its equal share of all while others are short of theirs. An
// eighth of the budget is for what nobody reserves, the blocks of plain
// clients.
func (a *allotment) reachable() int64 {
	room := a.kept + max(0, min(a.b.free(), a.b.reservable()-a.b.kept))
	most := a.b.share()
	if a.b.short == 0 || a.b.short == 1 && a.short {
		most = max(most, room/2)
	}
	return min(a.max, most, room)
}

func (b *budget) reservable() int64 { return b.total - b.total/8 }

// share is the equal part of each connection and of one more.
func (b *budget) share() int64 { return max(b.reservable()/(b.keepers+1), minAllotment) }

// reserve has l keep n bytes, or as near as the budget allows, and returns how
// many. What was granted out of a larger reservation may still come: it waits
// in the socket if there is no room.
func (a *allotment) reserve(n int64) int64 {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.closed {
		return 0
	}
	if !a.keeper {
		a.keeper = true
		a.b.keepers++
	}
	n = max(n, minAllotment)
	a.change(min(n, a.reachable()), a.used)
	a.setShort(a.kept < min(n, a.b.share()))
	a.b.serve()
	return a.kept
}

func (a *allotment) setShort(short bool) {
	switch {
	case short && !a.short:
		a.b.short++
	case !short && a.short:
		a.b.short--
	}
	a.short = short
}

// reach returns how many bytes l could reserve.
func (a *allotment) reach() int64 {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	return a.reachable()
}

// limit returns how large l is, or may become where it grows by itself.
func (a *allotment) limit(grows bool) int64 {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if grows {
		return min(a.max, a.used+a.b.free())
	}
	return a.kept
}

// verdict is what may be done about a wish for memory.
type verdict int

const (
	granted   verdict = iota
	waitOwn           // until blocks of the connection itself are stored
	waitOther         // until something of the budget is free
)

// ask judges the wish for n bytes more. Beyond its reservation an allotment grows
// to what is free, and one with nothing in use to a single block in any case:
// else its connection would stand still.
func (a *allotment) ask(n int64) verdict {
	after := a.used + n
	switch {
	case after <= a.kept:
		return granted
	case a.used > 0 && after > min(a.max, max(a.b.free(), a.kept)):
		return waitOwn
	case after-a.size() > a.b.free():
		return waitOther
	}
	return granted
}

// tryTake uses n bytes if it may do so at once.
func (a *allotment) tryTake(n int64) bool {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.used+n > a.kept && a.b.queue.Len() > 0 || a.ask(n) != granted {
		return false
	}
	a.change(a.kept, a.used+n)
	return true
}

// take uses n bytes, which it waits for if it must; false when stop is closed
// first.
func (a *allotment) take(n int64, stop <-chan struct{}) bool {
	a.b.mu.Lock()
	a.wants = n
	a.settle()
	a.b.serve()
	a.b.mu.Unlock()
	select {
	case <-a.granted:
		return true
	case <-stop:
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.wants == 0 { // granted at the same moment
		<-a.granted
		a.change(a.kept, a.used-n)
	}
	a.forgetWish()
	a.b.serve()
	return false
}

// settle has the wish of l granted if it can be without regard to others, and
// puts it in the queue if it must wait for them.
func (a *allotment) settle() {
	if a.wants == 0 {
		return
	}
	switch a.ask(a.wants) {
	case waitOwn:
		return
	case granted:
		if a.used+a.wants <= a.kept {
			a.grant()
			return
		}
	}
	if a.place == nil {
		a.place = a.b.queue.PushBack(a)
	}
}

func (a *allotment) grant() {
	a.change(a.kept, a.used+a.wants)
	a.forgetWish()
	a.granted <- struct{}{}
}

func (a *allotment) forgetWish() {
	a.wants = 0
	if a.place != nil {
		a.b.queue.Remove(a.place)
		a.place = nil
	}
}

// serve grants the wishes of those that wait for others, in the order in which
// they came.
func (b *budget) serve() {
	for e := b.queue.Front(); e != nil; e = b.queue.Front() {
		a := e.Value.(*allotment)
		switch a.ask(a.wants) {
		case granted:
			a.grant()
		case waitOwn: // less is free than when it came: its own blocks come first
			b.queue.Remove(e)
			a.place = nil
		case waitOther:
			return
		}
	}
}

// give returns n bytes that take had used.
func (a *allotment) give(n int64) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.change(a.kept, a.used-n)
	a.settle()
	a.b.serve()
}

// close gives the whole allotment back.
func (a *allotment) close() {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.change(0, 0)
	a.closed = true
	a.setShort(false)
	if a.keeper {
		a.b.keepers--
	}
	a.b.serve()
}
