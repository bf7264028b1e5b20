package middleware

import (
	"sync"

	"github.com/wsingest/wsingest/resume"
)

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

// cut takes the last n bytes, which are not safe, off the block.
func (b *block) cut(n int) []byte {
	b.n -= n
	b.crc = resume.UpdateCRC32C(0, b.buf[:b.n])
	return b.buf[b.n : b.n+n]
}

// blockSizes are the sizes a block may have. A slow connection collects in
// small ones, so that thousands of them cost little; a fast one in large ones,
// since the size of a write to the store decides what it costs.
var blockSizes = [...]int{16 << 10, 64 << 10, 256 << 10, 1 << 20}

// page is what writes to the store are aligned to: a write that begins or ends
// within one costs the file system a page more.
const page = 4 << 10

// tryBlock returns an empty block of the class if there is room for it at
// once, else nil. The block ends where the file position is a multiple of a
// page. Of its own size would be worse: a message that fits would be cut in two.
func (a *allotment) tryBlock(class int, pos int64) *block {
	size := int64(blockSizes[class])
	if !a.tryTake(size) {
		return nil
	}
	b := newBlock(class)
	b.buf = b.buf[:size-pos%page]
	return b
}

// waitBlock waits for room, and returns a block of the smallest class, which
// finds it soonest; nil when stop is closed first.
func (a *allotment) waitBlock(stop <-chan struct{}) *block {
	if !a.take(int64(blockSizes[0]), stop) {
		return nil
	}
	return newBlock(0)
}

// giveBlock takes a block back.
func (a *allotment) giveBlock(b *block) {
	a.give(int64(blockSizes[b.class]))
	b.buf = b.buf[:cap(b.buf)]
	b.n, b.crc, b.early = 0, 0, false
	b.keep()
	spares[b.class].put(b)
}

func newBlock(class int) *block {
	if b := spares[class].get(); b != nil {
		return b
	}
	return &block{buf: make([]byte, blockSizes[class]), class: class}
}

// hotBlocks is how many blocks of a class wait on the stack: as many as a
// connection has between its reader and its worker while the store keeps up.
const hotBlocks = 4

// spare keeps the blocks of a class that nobody uses. The one given back last
// goes out first: its memory is in the processor's cache still, and to read
// into memory that is not takes twice the time. (A sync.Pool hands blocks from
// one processor to the other oldest first.) What is more than the stack holds
// is the garbage collector's to free.
type spare struct {
	mu   sync.Mutex
	hot  []*block
	rest sync.Pool
}

var spares [len(blockSizes)]spare

func (s *spare) put(b *block) {
	s.mu.Lock()
	if len(s.hot) < hotBlocks {
		s.hot = append(s.hot, b)
		b = nil
	}
	s.mu.Unlock()
	if b != nil {
		s.rest.Put(b)
	}
}

func (s *spare) get() (b *block) {
	s.mu.Lock()
	if last := len(s.hot) - 1; last >= 0 {
		b, s.hot[last] = s.hot[last], nil
		s.hot = s.hot[:last]
	}
	s.mu.Unlock()
	if b == nil {
		b, _ = s.rest.Get().(*block)
	}
	return b
}
