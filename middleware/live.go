package middleware

import (
	"time"

	"github.com/wsingest/wsingest/resume"
)

// Memory returns how much of Options.Memory is given out, and how much there is:
// file data on its way to the store, and what clients were promised room for.
func (in *Ingest) Memory() (given, all int64) {
	in.budget.mu.Lock()
	defer in.budget.mu.Unlock()
	return in.budget.allotted, in.budget.total
}

// Connection is a snapshot of an upload connection.
type Connection struct {
	Remote string        // the client's address
	Plain  bool          // it speaks no subprotocol
	Age    time.Duration // since the upgrade
	Bytes  int64         // of file data taken in on it so far
	Rate   int64         // bytes a second lately; 0: not known yet

	// Upload that bytes go to now, and how far it is; "" when there is none.
	// Received is the position up to which it was taken in, Durable up to which
	// it is on stable storage, both seen from where this connection began.
	Upload            resume.ID
	Received, Durable int64
	// Finishing are uploads that are complete and on their way to the app.
	Finishing []resume.ID
}

// Connections returns what is connected now, in no order.
func (in *Ingest) Connections() []Connection {
	in.mu.Lock()
	sessions := make([]*session, 0, len(in.sessions))
	for s := range in.sessions {
		sessions = append(sessions, s)
	}
	in.mu.Unlock()
	list := make([]Connection, 0, len(sessions))
	for _, s := range sessions {
		if c, ok := s.snapshot(); ok {
			list = append(list, c)
		}
	}
	return list
}

// snapshot returns what s is doing; ok is false before the upgrade.
func (s *session) snapshot() (c Connection, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flow == nil {
		return c, false
	}
	c = Connection{Remote: s.req.RemoteAddr, Plain: !s.full, Age: s.age(), Bytes: s.stored, Rate: s.flow.Rate()}
	if most := s.in.opts.Bandwidth.most(); most > 0 {
		c.Rate = min(c.Rate, most) // what is measured is the line, which could do more
	}
	if s.up != nil {
		c.Upload, c.Received, c.Durable = s.up.id, s.up.received, min(s.up.claim.Durable(), s.up.received)
	}
	for done := range s.completing {
		c.Finishing = append(c.Finishing, done.id)
	}
	return c, true
}
