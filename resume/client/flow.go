package client

import (
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// Bounds on the size of a binary message: what is sent before the server has
// said its chunk, and what is never exceeded, since a message of up to 1 MiB
// that is cut is forgotten whole.
const (
	firstChunk = 256 << 10
	maxChunk   = 1 << 20
)

// flow is one opening of an upload on one connection, and what the server has
// said about it.
type flow struct {
	t      *transfer
	credit *credit
	base   int64  // bytes of other uploads sent before it on the connection
	eager  bool   // bytes go out before ready came
	lane   *piece // nil: the flow is of the whole upload

	before protocol.Limits // what holds until ready comes

	mu       sync.Mutex
	ready    *protocol.Ready
	start    int64 // where this connection began
	pos      int64 // of the next byte
	received int64
	durable  int64
}

// newFlow begins an opening of t, or of a piece of it if lane is not nil. One
// that is eager begins where they do.
func newFlow(t *transfer, c *credit, lane *piece, eager bool) *flow {
	f := &flow{t: t, credit: c, base: c.total(), eager: eager, lane: lane}
	if lane != nil {
		f.start, f.pos, f.received, f.durable = lane.Start, lane.Start, lane.Start, lane.Start
	}
	return f
}

// onReady takes in the answer to open.
func (f *flow) onReady(m *protocol.Ready) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = m
	f.t.waitingForSpace.Store(false)
	if !f.eager {
		f.start, f.pos, f.received, f.durable = m.Cursor, m.Cursor, m.Cursor, min(m.Offset, m.Cursor)
	}
	if !m.Complete {
		f.credit.granted(f.base, m.Window, m.Chunk)
	}
}

// onAck takes in how far the server is. It reports whether that has moved.
func (f *flow) onAck(m *protocol.Ack) (moved bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t.waitingForSpace.Store(m.State == protocol.StateWaitingForSpace)
	if f.ready == nil || m.State != "" {
		return false // of an earlier opening of the same upload; or just a sign of life
	}
	// A server cannot have what was not sent.
	received, durable := max(f.received, min(m.Received, f.pos)), max(f.durable, min(m.Offset, f.pos))
	moved = received > f.received || durable > f.durable
	f.received, f.durable = received, durable
	f.credit.granted(f.base+received-f.start, m.Window, m.Chunk)
	return moved
}

// answer returns ready, or nil before it came.
func (f *flow) answer() *protocol.Ready {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready
}

// run returns where the checksums of what is sent collect.
func (f *flow) run() *run {
	if f.lane != nil {
		return &f.lane.run
	}
	return &f.t.run
}

// reported returns the latest onReady or onAck took in.
func (f *flow) reported() (received, durable int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.received, f.durable
}

// all reports whether the server has received everything up to the lane's end.
func (f *flow) all() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready != nil && (f.ready.Complete || f.received >= f.lane.End)
}

// limits returns what the server has said about sizes so far.
func (f *flow) limits() protocol.Limits {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ready == nil {
		return f.before
	}
	return f.ready.Limits
}

// advance moves the position on and returns where it is. It goes before the
// write: an ack may come before the write returns.
func (f *flow) advance(n int) int64 {
	f.credit.spend(n)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pos += int64(n)
	return f.pos
}

// position returns where the next byte goes.
func (f *flow) position() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pos
}
