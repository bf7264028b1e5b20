package crash

import (
	"fmt"
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// ledger is what clients were told about uploads, over all connections. It
// notes every breach of a promise.
type ledger struct {
	mu       sync.Mutex
	durable  map[string]resume.Extents // by upload: what any message called durable
	breaches []string
	acks     int
	resumes  int // ready messages of uploads that had bytes
	resent   int64
}

func newLedger() *ledger { return &ledger{durable: make(map[string]resume.Extents)} }

func (l *ledger) breach(format string, args ...any) {
	l.breaches = append(l.breaches, fmt.Sprintf(format, args...))
}

// told notes that [start,end) of id was called durable.
func (l *ledger) told(id string, start, end int64) {
	l.durable[id] = with(l.durable[id], start, end)
}

// with returns x and [start,end). Checksums are none of the ledger's business.
func with(x resume.Extents, start, end int64) resume.Extents {
	for _, r := range x.Missing(resume.Range{Start: start, End: end}) {
		x, _ = x.Add(resume.Extent{Range: r})
	}
	return x
}

// line is one connection, as the ledger sees it: what was opened on it, and not
// yet passed by the answer to a later open.
type line struct {
	l     *ledger
	opens []*opening
}

// opening is one open on its way through a connection.
type opening struct {
	id       string
	eager    bool // the client sends without waiting for ready
	answered bool
	cursor   int64 // of the next byte that the client sends
	start    int64 // where it began
	// before is what had been called durable when the client's open went by. The
	// answer must not fall behind it. What other lanes are told between the
	// server's making of the answer and its coming by here is no breach.
	before resume.Extents
	known  resume.Extents // before, and what ready said
}

// client takes in a message of the client's.
func (c *line) client(text bool, payload []byte) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if text {
		if m, err := protocol.DecodeClient(payload); err != nil {
			c.l.breach("the client said %q: %v", payload, err)
		} else if open, ok := m.(*protocol.Open); ok {
			before := c.l.durable[open.ID]
			c.opens = append(c.opens, &opening{id: open.ID, eager: open.Eager, cursor: open.Start(), start: open.Start(), before: before, known: before})
		}
		return
	}
	if n := len(c.opens); n == 0 || !c.opens[n-1].eager && !c.opens[n-1].answered {
		c.l.breach("data before ready")
		return
	}
	o := c.opens[len(c.opens)-1]
	sent := resume.Range{Start: o.cursor, End: o.cursor + int64(len(payload))}
	o.cursor = sent.End
	c.l.resent += overlap(o.known, sent)
	if n := overlap(o.known, sent); n > 0 {
		c.l.breach("upload %s: %d bytes of %v were sent again although they were durable: %v", o.id, n, sent, o.known)
	}
}

func overlap(x resume.Extents, r resume.Range) (n int64) {
	for _, e := range x {
		n += max(0, min(e.End, r.End)-max(e.Start, r.Start))
	}
	return n
}

// server takes in a message of the server's.
func (c *line) server(payload []byte) {
	m, err := protocol.DecodeServer(payload)
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if err != nil {
		c.l.breach("the server said %q: %v", payload, err)
		return
	}
	switch m := m.(type) {
	case *protocol.Ready:
		c.ready(m)
	case *protocol.Ack:
		if o := c.current(m.ID); o != nil && m.State == "" {
			c.l.acks++
			if m.Offset > m.Received || m.Received > o.cursor {
				c.l.breach("upload %s: ack of offset %d, received %d, but only %d was sent", m.ID, m.Offset, m.Received, o.cursor)
			}
			c.l.told(m.ID, o.start, m.Offset)
		}
	case *protocol.Goaway:
		if o := c.current(m.ID); o != nil {
			c.l.told(m.ID, o.start, m.Offset)
		}
	}
}

// current returns the opening that the server is at, if it is of id.
func (c *line) current(id string) *opening {
	if len(c.opens) == 0 || !c.opens[0].answered || c.opens[0].id != id {
		return nil
	}
	return c.opens[0]
}

// ready takes in the answer to the first open that has none.
func (c *line) ready(m *protocol.Ready) {
	if len(c.opens) > 0 && c.opens[0].answered {
		c.opens = c.opens[1:]
	}
	if len(c.opens) == 0 || c.opens[0].id != m.ID {
		c.l.breach("upload %s: ready, which nobody asked for", m.ID)
		return
	}
	o := c.opens[0]
	o.answered = true
	if len(o.before) > 0 {
		c.l.resumes++
	}
	if m.Offset < o.before.EndFrom(0) {
		c.l.breach("upload %s: offset went back from %d to %d", m.ID, o.before.EndFrom(0), m.Offset)
	}
	for _, r := range m.Missing {
		missing := resume.Range{Start: r.Start, End: resume.Unbounded}
		if r.End != nil {
			missing.End = *r.End
		}
		if n := overlap(o.before, missing); n > 0 {
			c.l.breach("upload %s: %d bytes of %v are missing that were durable: %v", m.ID, n, missing, o.before)
		}
	}
	known := o.before
	for _, h := range m.Have {
		c.l.told(m.ID, h.Range.Start, *h.Range.End)
		known = with(known, h.Range.Start, *h.Range.End)
	}
	if !o.eager {
		o.cursor, o.start, o.known = m.Cursor, m.Cursor, known
	}
}
