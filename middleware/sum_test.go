package middleware_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// sumStore is a store that looks at the checksums it is told. Its writes wait
// for the gate.
type sumStore struct {
	resume.Store
	gate chan struct{}

	mu     sync.Mutex
	sizes  []int
	unlike int // writes whose sum was not that of their bytes
}

func (s *sumStore) Open(ctx context.Context, o resume.OpenOptions) (resume.Claim, error) {
	c, err := s.Store.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &sumClaim{c, s}, nil
}

type sumClaim struct {
	resume.Claim
	s *sumStore
}

func (c *sumClaim) WriteSum(p []byte, crc uint32) (int, error) {
	<-c.s.gate
	c.s.mu.Lock()
	c.s.sizes = append(c.s.sizes, len(p))
	if crc != resume.UpdateCRC32C(0, p) {
		c.s.unlike++
	}
	c.s.mu.Unlock()
	return resume.WriteSum(c.Claim, p, crc)
}

// However messages fall into blocks (gathered while the store is busy, over
// several blocks, alone), the sum that goes with a write is that of its
// bytes, and those of all writes make up what check is compared with.
func TestTheSumOfABlockIsThatOfItsBytes(t *testing.T) {
	s := &sumStore{gate: make(chan struct{})}
	r := newRig(t, rigOptions{wrap: func(next resume.Store) resume.Store { s.Store = next; return s }})
	data := content(1, 2<<20)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	edge := next[*protocol.Ready](p).Window
	sent := 0
	for _, n := range []int{1, 17, 100, 16<<10 - 1, 16 << 10, 3, 700} { // within any window
		p.Data(data[sent : sent+n])
		sent += n
	}
	time.AfterFunc(100*time.Millisecond, func() { close(s.gate) }) // until then they are gathered
	for i := 0; sent < len(data); i++ {
		n := min([]int{70_001, 64 << 10, 9, 33_000}[i%4], len(data)-sent)
		for edge < int64(sent+n) {
			a := next[*protocol.Ack](p)
			edge = max(edge, a.Received+a.Window)
		}
		p.Data(data[sent : sent+n])
		sent += n
	}
	crc := protocol.CRC32C(resume.UpdateCRC32C(0, data))
	p.Send(&protocol.Check{Offset: int64(len(data)), CRC32C: crc})
	p.Send(&protocol.Finish{Digest: &protocol.Digest{CRC32C: &crc, SHA256: sum(data)}})
	next[*protocol.Done](p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unlike > 0 {
		t.Errorf("%d of %d writes came with a sum that is not that of their bytes", s.unlike, len(s.sizes))
	}
	if len(s.sizes) < 5 {
		t.Errorf("%d writes only, of %v bytes: nothing was tried", len(s.sizes), s.sizes)
	}
}

// A message that was not read to its end is forgotten, and its bytes go out of
// the sum of the block that they share with whole messages.
func TestAForgottenMessageIsNotInTheSum(t *testing.T) {
	s := &sumStore{gate: make(chan struct{})}
	r := newRig(t, rigOptions{wrap: func(next resume.Store) resume.Store { s.Store = next; return s }})
	data := content(2, 4<<20)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	edge := int(next[*protocol.Ready](p).Window)
	// The store takes the first, the second waits in a block with room in it.
	p.Data(data[:1000])
	p.Data(data[1000:3000])
	p.Data(data[3000 : edge+1]) // one byte more than was granted
	close(s.gate)
	fails(p, protocol.BadMessage)

	p = r.full()
	p.Send(open(id, int64(len(data))))
	ready := next[*protocol.Ready](p)
	if ready.Received < 3000 {
		t.Fatalf("%d bytes are there, expected the 3000 of the whole messages", ready.Received)
	}
	for _, h := range ready.Have {
		if got, want := uint32(h.CRC32C), resume.UpdateCRC32C(0, data[h.Range.Start:*h.Range.End]); got != want {
			t.Errorf("the sum of [%d, %d) is %08x, expected %08x", h.Range.Start, *h.Range.End, got, want)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unlike > 0 {
		t.Errorf("%d of the writes of %v bytes came with a sum that is not that of their bytes", s.unlike, s.sizes)
	}
}

// A message that fits into a block is one write, wherever in the file it
// begins: where blocks end at multiples of their size, it would be two.
func TestAMessageIsOneWrite(t *testing.T) {
	s := &sumStore{gate: make(chan struct{})}
	close(s.gate)
	r := newRig(t, rigOptions{wrap: func(next resume.Store) resume.Store { s.Store = next; return s }})
	const size, off, warm, n = 64 << 10, 32 << 10, 4, 12
	data := content(1, off+n*size)
	p := r.full()
	p.Send(open(resume.NewID(), int64(len(data))))
	edge := next[*protocol.Ready](p).Window
	p.Data(data[:off])
	s.await(t, off)
	for sent := off; sent < len(data); sent += size {
		for edge < int64(sent+size) {
			a := next[*protocol.Ack](p)
			edge = max(edge, a.Received+a.Window)
		}
		p.Data(data[sent : sent+size])
		s.await(t, sent+size) // nothing is gathered while the store has nothing to do
	}
	whole := 0
	for _, n := range s.sizes {
		if n == size {
			whole++
		}
	}
	if whole < n-warm { // it begins with small blocks
		t.Errorf("of %d messages of %d bytes, %d were one write: %v", n, size, whole, s.sizes)
	}
}

// await waits until so many bytes were written in all.
func (s *sumStore) await(t *testing.T, bytes int) {
	t.Helper()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		total := 0
		for _, n := range s.sizes {
			total += n
		}
		return total >= bytes
	})
}
