package middleware

import (
	"sync"

	"github.com/wsingest/wsingest/resume"
)

// budget is the memory for file data that all connections share. A connection
// draws on it through a lease.
type budget struct {
	mu      sync.Mutex
	total   int64
	leased  int64
	waiting map[*lease]struct{} // those that wait for others to give back
}

func newBudget(total int64) *budget {
	return &budget{total: total, waiting: make(map[*lease]struct{})}
}

// lease is one connection's part of the budget. What a client may send is
// granted out of it, so that every byte granted has its place; blocks come out
// of it as bytes arrive.
type lease struct {
	b    *budget
	max  int64 // size never grows beyond
	size int64 // leased from the budget
	used int64 // in blocks right now
	wake chan struct{}
}

func (b *budget) lease(max int64) *lease {
	return &lease{b: b, max: min(max, b.total/4), wake: make(chan struct{}, 1)}
}

// firstSize is what a new connection asks for while the budget is as full as it
// is: less and less, so that thousands of connections find room. Nothing is set
// aside for it: where large leases hold the whole budget it gets what is left.
func (b *budget) firstSize() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(max((b.total-b.leased)/512, minLease), firstLease)
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
)

// resize brings the lease to n bytes, or as near as the budget and what is in
// use allow, and returns what it is.
func (l *lease) resize(n int64) int64 {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	n = min(max(n, l.used), l.max, l.size+l.b.total-l.b.leased)
	l.b.leased += n - l.size
	freed := n < l.size
	l.size = n
	if freed {
		l.b.wakeAll()
	}
	return n
}

// reach returns how large the lease may become as the budget is now.
func (l *lease) reach() int64 {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return min(l.max, l.size+l.b.total-l.b.leased)
}

// limit returns how large the lease is, or may become where it grows by itself.
func (l *lease) limit(grows bool) int64 {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if grows {
		return l.max
	}
	return l.size
}

// take uses n bytes of the lease, and grows it if it must. It waits until the
// connection's own blocks or other connections' leases make room; false when
// stop is closed first.
func (l *lease) take(n int64, stop <-chan struct{}) bool {
	for {
		if l.tryTake(n) {
			return true
		}
		select {
		case <-l.wake:
		case <-stop:
			l.b.mu.Lock()
			delete(l.b.waiting, l)
			l.b.mu.Unlock()
			return false
		}
	}
}

func (l *lease) tryTake(n int64) bool {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if more := l.used + n - l.size; more > 0 {
		// A lease with nothing in use gets its one block even when the block is
		// larger than the lease may be; else the connection would stand still.
		if l.size+more > l.max && l.used > 0 || l.b.leased+more > l.b.total {
			l.b.waiting[l] = struct{}{}
			return false
		}
		l.size += more
		l.b.leased += more
	}
	l.used += n
	return true
}

// give returns n bytes that take had used.
func (l *lease) give(n int64) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.used -= n
	if _, ok := l.b.waiting[l]; ok {
		l.b.wakeAll()
	}
}

// close gives the whole lease back.
func (l *lease) close() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.leased -= l.size
	l.size, l.used = 0, 0
	delete(l.b.waiting, l)
	l.b.wakeAll()
}

func (b *budget) wakeAll() {
	for l := range b.waiting {
		delete(b.waiting, l)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// block is a piece of memory that file data is collected in. Its first safe
// bytes belong to whole messages, n are filled.
type block struct {
	buf     []byte // what may be filled; may be less than the memory behind it
	n, safe int
	crc     uint32 // CRC-32C of what is filled
	safeCRC uint32 // and of what is safe
	class   int
	early   bool // arrived before ready was written
}

// took counts n bytes that were read behind what was filled. They are summed
// up here, right behind the read that brought them into the processor's cache:
// nothing goes over them again but the write to the store.
func (b *block) took(n int) {
	b.crc = resume.UpdateCRC32C(b.crc, b.buf[b.n:b.n+n])
	b.n += n
}

// keep declares everything filled safe, and drop goes back to what is.
func (b *block) keep() { b.safe, b.safeCRC = b.n, b.crc }
func (b *block) drop() { b.n, b.crc = b.safe, b.safeCRC }

// blockSizes are the sizes a block may have. A slow connection collects in
// small ones, so that thousands of them cost little; a fast one in large ones,
// since the size of a write to the store decides what it costs.
var blockSizes = [...]int{16 << 10, 64 << 10, 256 << 10, 1 << 20}

var blockPools [len(blockSizes)]sync.Pool

// takeBlock waits for room in the lease and returns an empty block, nil when
// stop is closed first. The block ends where the file position is a multiple
// of its size, so that writes are aligned.
func (l *lease) takeBlock(class int, pos int64, stop <-chan struct{}) *block {
	size := int64(blockSizes[class])
	if !l.take(size, stop) {
		return nil
	}
	b, ok := blockPools[class].Get().(*block)
	if !ok {
		b = &block{buf: make([]byte, size), class: class}
	}
	b.buf = b.buf[:size-pos%size]
	return b
}

// giveBlock takes a block back.
func (l *lease) giveBlock(b *block) {
	l.give(int64(blockSizes[b.class]))
	b.buf = b.buf[:cap(b.buf)]
	b.n, b.crc, b.early = 0, 0, false
	b.keep()
	blockPools[b.class].Put(b)
}
