package client

import (
	"crypto/sha256"
	"sync"

	"github.com/wsingest/wsingest/resume"
)

// ledger collects the checksums of what was sent, or was proven to be on the
// server, so that the CRC-32C of the whole is known in the end without reading
// anything twice, in whatever order the parts went.
type ledger struct {
	mu    sync.Mutex
	known resume.Extents
}

// add enters e, unless bytes of it were entered before.
func (l *ledger) add(e resume.Extent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x, err := l.known.Add(e); err == nil {
		l.known = x
	}
}

// whole returns the CRC-32C of the first size bytes, if all of them are known.
func (l *ledger) whole(size int64) (crc uint32, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size == 0 {
		return 0, true
	}
	if len(l.known) == 1 && l.known[0].Range == (resume.Range{Start: 0, End: size}) {
		return l.known[0].CRC32C, true
	}
	return 0, false
}

// missing returns which of the first size bytes are not known.
func (l *ledger) missing(size int64) []resume.Range {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known.Missing(resume.Range{Start: 0, End: size})
}

// has reports whether the ledger knows any byte of r.
func (l *ledger) has(r resume.Range) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known.EndFrom(r.Start) > r.Start || l.known.NextFrom(r.Start) < r.End
}

// note enters what it does not know yet of p, which begins at off.
func (l *ledger) note(off int64, p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.known.Missing(resume.Range{Start: off, End: off + int64(len(p))}) {
		part := p[r.Start-off : r.End-off]
		l.known, _ = l.known.Add(resume.Extent{Range: r, CRC32C: resume.UpdateCRC32C(0, part)})
	}
}

// run is a stretch that grows while bytes are sent in order, so that the ledger
// need not be asked for each chunk. It outlives connections: bytes that are
// sent again do not count twice.
type run struct{ resume.Extent }

// extend counts p, sent from off on; nothing beyond end is going to be counted
// by this run.
func (r *run) extend(l *ledger, off, end int64, p []byte) {
	if r.Empty() && !l.has(resume.Range{Start: off, End: end}) {
		r.Start, r.End = off, off
	} else if r.Empty() || off < r.Start || off > r.End {
		r.put(l)
		l.note(off, p)
		return
	}
	if skip := r.End - off; skip < int64(len(p)) {
		r.CRC32C = resume.UpdateCRC32C(r.CRC32C, p[skip:])
		r.End = off + int64(len(p))
	}
}

// put enters the run into the ledger and begins a new one.
func (r *run) put(l *ledger) {
	l.add(r.Extent)
	r.Extent = resume.Extent{}
}

// hasher takes the SHA-256 of a file in a goroutine of its own, beside the
// sending. It follows what was sent, and so reads what is in the page cache
// still.
type hasher struct {
	feed *fileFeed

	mu     sync.Mutex
	more   sync.Cond
	limit  int64 // how far it may go
	closed bool

	done chan struct{}
	sum  []byte
	err  error
}

func newHasher(f *fileFeed) *hasher {
	h := &hasher{feed: f, done: make(chan struct{})}
	h.more.L = &h.mu
	go func() {
		defer close(h.done)
		h.sum, h.err = h.run()
	}()
	return h
}

// allow lets the hasher go on up to position end.
func (h *hasher) allow(end int64) {
	if h == nil {
		return
	}
	h.mu.Lock()
	if end > h.limit {
		h.limit = end
		h.more.Signal()
	}
	h.mu.Unlock()
}

func (h *hasher) run() ([]byte, error) {
	sha := sha256.New()
	buf := make([]byte, blockSize)
	for off := int64(0); off < h.feed.src.Size; {
		h.mu.Lock()
		for h.limit <= off && !h.closed {
			h.more.Wait()
		}
		n, closed := min(h.limit-off, int64(len(buf))), h.closed
		h.mu.Unlock()
		if closed {
			return nil, errReleased
		}
		if _, err := h.feed.ReadAt(buf[:n], off); err != nil {
			return nil, err
		}
		sha.Write(buf[:n])
		off += n
	}
	return sha.Sum(nil), nil
}

// close ends the hasher and waits for it.
func (h *hasher) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.closed = true
	h.more.Signal()
	h.mu.Unlock()
	<-h.done
}
