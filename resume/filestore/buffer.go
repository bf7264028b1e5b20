package filestore

import (
	"io"
	"slices"
	"sync"

	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// part is where the bytes of an upload go: its part file, or the buffer of a
// small one.
type part interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Reserve(size int64) (aside bool, err error)
}

var (
	_ part = vfs.File(nil)
	_ part = (*buffer)(nil)
)

// maxBuffered bounds the small uploads that are in memory, in bytes of their
// lengths. More go to files.
const maxBuffered = 64 << 20

// buffer is the bytes of a small upload while somebody has it open. What was
// written to it goes to the journal with the next record.
type buffer struct {
	store *Store
	size  int64 // the upload's length

	mu     sync.Mutex
	b      []byte // as far as anything was written
	lo, hi int64  // what the journal has not got
	closed bool
}

func (s *Store) newBuffer(length int64) *buffer {
	s.buffered.Add(length)
	return &buffer{store: s, size: length}
}

// WriteAt implements [io.WriterAt]. Who calls has made sure that p ends at the
// upload's length at the latest.
func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := off + int64(len(p))
	if end > int64(len(b.b)) {
		if b.b == nil {
			b.b = make([]byte, 0, max(b.size, end))
		}
		b.b = slices.Grow(b.b, int(end)-len(b.b))[:end]
	}
	copy(b.b[off:], p)
	b.dirty(off, end)
	return len(p), nil
}

func (b *buffer) dirty(lo, hi int64) {
	if b.lo == b.hi {
		b.lo, b.hi = lo, hi
	} else if lo < hi {
		b.lo, b.hi = min(b.lo, lo), max(b.hi, hi)
	}
}

// ReadAt implements [io.ReaderAt].
func (b *buffer) ReadAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off < int64(len(b.b)) {
		n = copy(p, b.b[off:])
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// take returns what the journal has not got, or all there is. It may hold bytes
// that no record names: they are as good as any that the record does not name.
func (b *buffer) take(all bool) (p []byte, at int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lo, hi := b.lo, b.hi
	if b.lo, b.hi = 0, 0; all {
		lo, hi = 0, int64(len(b.b))
	}
	return slices.Clone(b.b[lo:hi]), lo
}

// giveBack takes back what did not get there.
func (b *buffer) giveBack(p []byte, at int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty(at, at+int64(len(p)))
}

// bytes returns the bytes of a complete upload, which do not change any more.
func (b *buffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b
}

// Reserve sets nothing aside: the journal has room for a while.
func (b *buffer) Reserve(int64) (aside bool, err error) { return false, nil }

func (b *buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.store.buffered.Add(-b.size)
	}
	return nil
}
