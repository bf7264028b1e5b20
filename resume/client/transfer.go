package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// Result is a finished upload.
type Result struct {
	ID     string
	Length int64 // in bytes
	// SHA256 of what the server stored, as the server computed it, 32 bytes;
	// with Options.WantDigest, and then equal to that of the source.
	SHA256 []byte
	// Location is where the server published the file, if it says so.
	Location string
	// Response is what the app behind the server answered, if there is one.
	Response *protocol.Response
	// ResumedFrom is how many bytes the server had already when Upload was
	// called.
	ResumedFrom int64
	// Reconnects counts the connections beyond the first.
	Reconnects int

	crc *uint32 // of what the server delivered, if it says so
}

// progressEvery is how often OnProgress may be called.
const progressEvery = 100 * time.Millisecond

// transfer is one upload on its way, over however many connections.
type transfer struct {
	c    *Client
	src  *Source
	id   string
	feed feed
	file *fileFeed // feed, when it is one
	// state is nil when nothing is to outlive the process.
	state *stateFile
	sums  ledger
	run   run
	sha   *hasher

	// fresh: the server has never heard of the id, so bytes may follow open at
	// once. Owned by the goroutine that opens.
	fresh   bool
	opened  bool // an open went out, on whatever connection
	started bool // have was compared, or there is nothing to compare
	lanes   int  // more than 1: filled by lanes first
	refills int  // how often the lanes had to begin again

	sent, received, durable atomic.Int64
	resumedFrom             atomic.Int64
	gaps                    atomic.Bool            // the server has bytes of another process that could not be compared
	proof                   atomic.Pointer[uint32] // CRC-32C of the source, once finish went out with it
	reconnects              atomic.Int64
	waitingForSpace         atomic.Bool            // the server waits for room
	wake                    atomic.Pointer[func()] // pokes whoever sends it now

	ctx    context.Context // ends when nobody waits for the transfer any more
	cancel context.CancelFunc

	mu      sync.Mutex
	result  *Result
	err     error
	settled chan struct{} // closed when result or err stands
}

// wait returns the end of the transfer, and reports progress until then.
func (t *transfer) wait(ctx context.Context) (*Result, error) {
	report := t.src.OnProgress
	var tick <-chan time.Time
	if report != nil {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	var last Progress
	for {
		select {
		case <-t.settled:
			if report != nil {
				report(t.progress())
			}
			return t.result, t.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick:
			if p := t.progress(); p != last {
				report(p)
				last = p
			}
		}
	}
}

// release ends the use of the source.
func (t *transfer) release() {
	t.cancel()
	t.feed.close()
	t.sha.close()
}

// over: nothing is to be sent for it any more.
func (t *transfer) over() bool { return t.ctx.Err() != nil || t.isSettled() }

// settle ends the transfer; the first end stands.
func (t *transfer) settle(r *Result, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isSettled() {
		return
	}
	t.result, t.err = r, err
	close(t.settled)
}

func (t *transfer) isSettled() bool {
	select {
	case <-t.settled:
		return true
	default:
		return false
	}
}

// poke tells whoever sends the transfer that its source has more.
func (t *transfer) poke() {
	if f := t.wake.Load(); f != nil {
		(*f)()
	}
}

func (t *transfer) progress() Progress {
	return Progress{Sent: t.sent.Load(), Received: t.received.Load(), Durable: t.durable.Load(), Total: t.feed.known(), WaitingForSpace: t.waitingForSpace.Load()}
}

// open makes the message that begins the transfer or takes it up.
func (t *transfer) open(eager bool, lane *protocol.Range) *protocol.Open {
	m := &protocol.Open{
		ID: t.id, Name: t.src.Name, Type: t.src.Type, Metadata: t.src.Metadata, Ticket: t.src.Ticket,
		Range: lane, Eager: eager, PingTimeoutMS: t.c.o.PingTimeout.Milliseconds(),
	}
	if n := t.src.Size; n >= 0 {
		m.Length = &n
	}
	if t.c.o.WantDigest {
		m.WantDigest = protocol.SHA256
	}
	return m
}

// opening is open with a ticket that is asked for now. nil: there is none, and
// the transfer is settled.
func (t *transfer) opening(eager bool, lane *protocol.Range) *protocol.Open {
	m := t.open(eager, lane)
	if t.src.TicketFor == nil {
		return m
	}
	var err error
	if m.Ticket, err = t.src.TicketFor(t.ctx, t.id); err != nil {
		t.settle(nil, &ticketError{err})
		return nil
	}
	return m
}

// beginFresh is begin for an id that the server cannot know.
func (t *transfer) beginFresh() {
	t.started = true
	if r, ok := t.feed.(*retention); ok {
		r.start(nil)
	}
}

// sentTo counts what was sent up to position to of a flow.
func (t *transfer) sentTo(f *flow, to int64) {
	if f.lane == nil {
		raise(&t.sent, to)
	} else {
		t.sent.Add(f.lane.sentTo(to))
	}
	t.sha.allow(t.sent.Load())
}

// reported takes over what the server said about a flow.
func (t *transfer) reported(f *flow) {
	received, durable := f.reported()
	if f.lane != nil {
		t.received.Add(f.lane.receivedTo(received))
		t.durable.Add(f.lane.durableTo(durable))
		return
	}
	t.received.Store(received)
	raise(&t.durable, durable)
	raise(&t.sent, received)
	t.feed.release(durable)
}

// raise sets a to v unless it is more already.
func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); old < v && !a.CompareAndSwap(old, v); old = a.Load() {
	}
}

// done settles the transfer with the server's last word. It runs where a
// message is handled, so it may not wait.
func (t *transfer) done(m *protocol.Done) {
	if m.Cancelled {
		t.settle(nil, &protocol.Error{ID: m.ID, Code: protocol.NotFound, Detail: "the upload was cancelled"})
		return
	}
	r := &Result{ID: m.ID, Length: m.Length, Location: m.Location, Response: m.Response}
	if m.Digest != nil {
		r.SHA256, r.crc = m.Digest.SHA256, (*uint32)(m.Digest.CRC32C)
	}
	t.sent.Store(m.Length)
	t.received.Store(m.Length)
	t.durable.Store(m.Length)
	t.settle(r, nil)
}

// spent reports whether an upload that ended with err cannot be gone on with,
// so that its state file is of no more use.
func spent(err error) bool {
	if err == nil || errors.Is(err, ErrRejected) || errors.Is(err, ErrSourceChanged) || errors.Is(err, ErrDigestMismatch) {
		return true
	}
	var server *protocol.Error
	if !errors.As(err, &server) {
		return false
	}
	switch server.Code {
	case protocol.BadID, protocol.NotFound, protocol.InconsistentLength, protocol.MaxSizeExceeded:
		return true
	}
	return false
}
