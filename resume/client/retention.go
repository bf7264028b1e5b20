package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/wsingest/wsingest/resume"
)

// blockSize is the unit a retention keeps bytes in.
const blockSize = 256 << 10

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// retention is the feed of a Reader: what was read from it and is not yet on
// the server's stable storage. A goroutine reads ahead into it until it is
// full; the sender takes bytes from anywhere in it, again after a reconnect.
type retention struct {
	r     io.Reader
	size  int64 // as promised, or UnknownSize
	limit int64
	poke  func() // there is more to send; does not block

	mu      sync.Mutex
	room    sync.Cond
	blocks  []*[blockSize]byte
	base    int64 // position of the first byte of blocks[0], a multiple of blockSize
	durable int64 // below it nothing is needed any more
	end     int64 // how far r was read
	eof     bool
	err     error
	closed  bool
	once    sync.Once     // start
	done    chan struct{} // closed when the reading has ended

	expect []resume.Extent // what the server has: compared as it is read
	part   uint32          // CRC-32C from expect[0].Start on
	crc    uint32          // of everything read
	sha    hash.Hash       // of everything read, when wanted
}

func newRetention(s *Source, limit int64, wantSHA bool, poke func()) *retention {
	f := &retention{r: s.Reader, size: s.Size, limit: limit, poke: poke, done: make(chan struct{})}
	f.room.L = &f.mu
	if wantSHA {
		f.sha = sha256.New()
	}
	return f
}

// start begins to read ahead. have is what the server holds at the outset: it
// must be what the reader begins with. Only the first call counts.
func (f *retention) start(have []resume.Extent) {
	f.once.Do(func() {
		f.expect = have
		go func() {
			defer close(f.done)
			f.pump()
		}()
	})
}

func (f *retention) pump() {
	for {
		p, err := f.space()
		if p == nil {
			return
		}
		if err == nil {
			var n int
			n, err = f.r.Read(p)
			if n < 0 || n > len(p) {
				n, err = 0, fmt.Errorf("the source's Read returned %d for %d bytes", n, len(p))
			}
			if e := f.took(p[:n]); e != nil {
				err = e
			}
		}
		if err != nil {
			f.ended(err)
			return
		}
		f.poke()
	}
}

// space waits for room and returns where the next bytes go; nil after close.
func (f *retention) space() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.closed && f.end-f.durable >= f.limit {
		f.room.Wait()
	}
	if f.closed {
		return nil, nil
	}
	f.drop()
	i, at := (f.end-f.base)/blockSize, (f.end-f.base)%blockSize
	for int64(len(f.blocks)) <= i {
		f.blocks = append(f.blocks, blocks.Get().(*[blockSize]byte))
	}
	n := min(blockSize-at, max(f.limit-(f.end-f.durable), 1))
	if f.size >= 0 {
		n = min(n, f.size-f.end)
	}
	for _, edge := range f.edges() {
		if edge > f.end {
			n = min(n, edge-f.end)
		}
	}
	p := f.blocks[i][at : at+n]
	if n == 0 {
		return f.blocks[i][:0], io.EOF // as much as was promised
	}
	return p, nil
}

// edges are where a read must stop so that a checksum ends there.
func (f *retention) edges() []int64 {
	if len(f.expect) == 0 {
		return nil
	}
	return []int64{f.expect[0].Start, f.expect[0].End}
}

// took counts bytes that were read, and compares them with what the server
// has.
func (f *retention) took(p []byte) error {
	if f.sha != nil {
		f.sha.Write(p)
	}
	f.crc = resume.UpdateCRC32C(f.crc, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.expect) > 0 && f.end >= f.expect[0].Start {
		f.part = resume.UpdateCRC32C(f.part, p)
	}
	f.end += int64(len(p))
	if len(f.expect) > 0 && f.end == f.expect[0].End {
		if f.part != f.expect[0].CRC32C {
			return fmt.Errorf("%w: its bytes %v are not those the server has", ErrSourceChanged, f.expect[0].Range)
		}
		f.expect, f.part = f.expect[1:], 0
	}
	return nil
}

func (f *retention) ended(err error) {
	f.mu.Lock()
	switch {
	case err != io.EOF:
		f.err = err
	case f.size >= 0 && f.end < f.size:
		f.err = fmt.Errorf("%w: %d bytes of %d", ErrShortSource, f.end, f.size)
	case len(f.expect) > 0:
		f.err = fmt.Errorf("%w: it ends at %d, the server has bytes up to %d", ErrSourceChanged, f.end, f.expect[len(f.expect)-1].End)
	}
	f.eof = true
	f.mu.Unlock()
	f.poke()
}

// at returns bytes from position off on, at most len(buf), and nothing when
// none, or fewer than least, were read so far. The error is io.EOF at the end
// of the source. The bytes are valid until release goes beyond off.
func (f *retention) at(off int64, buf []byte, least int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return nil, f.err
	case off < f.base || off < f.durable && off < f.end:
		return nil, fmt.Errorf("the server asks for byte %d, but had reported all below %d as stored: they are not kept", off, f.durable)
	case off >= f.end && f.eof:
		if off > f.end {
			return nil, fmt.Errorf("%w: it ends at %d, the server has bytes up to %d", ErrSourceChanged, f.end, off)
		}
		return nil, io.EOF
	case off >= f.end, !f.eof && f.end-off < least && f.end-f.durable < f.limit:
		return nil, nil
	}
	n := min(int64(len(buf)), f.end-off)
	i, from := (off-f.base)/blockSize, (off-f.base)%blockSize
	if in := min(n, blockSize-from); in == n || in >= least {
		return f.blocks[i][from : from+in], nil
	}
	copied := copy(buf[:n], f.blocks[i][from:])
	for int64(copied) < n {
		i++
		copied += copy(buf[copied:n], f.blocks[i][:])
	}
	return buf[:n], nil
}

// release forgets everything below durable.
func (f *retention) release(durable int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if durable > f.durable {
		f.durable = durable
		f.drop()
		f.room.Signal()
	}
}

// drop gives back the blocks that lie wholly below durable and were read
// through.
func (f *retention) drop() {
	for f.base+blockSize <= min(f.durable, f.end) {
		if len(f.blocks) > 0 {
			blocks.Put(f.blocks[0])
			f.blocks = f.blocks[1:]
		}
		f.base += blockSize
	}
}

// drain reads the source to its end, keeps nothing of it, and returns its
// length.
func (f *retention) drain(ctx context.Context) (int64, error) {
	f.release(1 << 62)
	select {
	case <-f.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end, f.err
}

// known returns the length of the source: UnknownSize before its end.
func (f *retention) known() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.eof && f.err == nil {
		return f.end
	}
	return f.size
}

// sums returns the digests of the whole, once the source has ended.
func (f *retention) sums() (crc uint32, sha []byte) {
	if f.sha != nil {
		sha = f.sha.Sum(nil)
	}
	return f.crc, sha
}

// close ends the reading. A Read under way cannot be called back.
func (f *retention) close() {
	f.mu.Lock()
	f.closed = true
	f.room.Signal()
	f.mu.Unlock()
}
