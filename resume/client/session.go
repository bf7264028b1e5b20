package client

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// session is one connection of a client and the uploads on it: one is being
// sent, those before it wait for their done.
type session struct {
	*sender
	c *Client

	mu    sync.Mutex
	flows map[string]*flow // by upload id
}

func newSession(c *Client, conn *conn) *session {
	return &session{sender: newSender(c.ctx, conn), c: c, flows: map[string]*flow{}}
}

// run sends until the connection is of no more use, and returns why.
func (s *session) run() error {
	for {
		t := s.next()
		if t == nil {
			if err := s.wait(); err != nil {
				return err
			}
			continue
		}
		if err := s.upload(t); err != nil {
			return err
		}
	}
}

// next returns the first upload that was not opened on this connection yet;
// nil when there is none or enough are on their way.
func (s *session) next() *transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, f := range s.flows {
		if f.t.over() {
			delete(s.flows, id)
		}
	}
	if len(s.flows) >= s.c.o.InFlight {
		return nil
	}
	return s.c.first(func(t *transfer) bool { f := s.flows[t.id]; return f == nil || f.t != t })
}

// upload opens t, sends what the server does not have, and finishes. Its done
// comes when it comes.
func (s *session) upload(t *transfer) error {
	f := s.attach(t)
	open := t.opening(f.eager, nil)
	if open == nil {
		return nil
	}
	if err := s.conn.send(open); err != nil {
		return err
	}
	if !f.eager {
		if err := s.until(t, func() bool { return f.answer() != nil }); err != nil || t.over() {
			return err
		}
		ready := f.answer()
		if ready.Complete {
			return nil
		}
		if err := t.begin(ready); err != nil {
			t.settle(nil, err)
			return nil
		}
		if t.lanes > 1 && ready.Cursor < t.src.Size {
			return s.c.refill(t)
		}
	}
	if err := s.stream(f, t.src.Size); err != nil || t.over() {
		return err
	}
	if t.sha != nil || !f.eager {
		if err := s.conn.flush(); err != nil { // the digests may take a while
			return err
		}
	}
	m, err := t.finish()
	if err != nil {
		t.settle(nil, err)
		return nil
	}
	return s.conn.send(m)
}

// sendAgain is the size up to which a file is sent again whole, rather than
// waiting for the server to say what it has of it: many small files that were
// on their way when a connection broke would take a round trip each.
const sendAgain = 64 << 10

// attach makes t known to the connection.
func (s *session) attach(t *transfer) *flow {
	small := t.started && t.file != nil && t.src.Size <= sendAgain && t.durable.Load() == 0
	f := newFlow(t, s.credit, nil, t.fresh || small)
	if t.opened {
		t.reconnects.Add(1)
	}
	if t.fresh {
		t.beginFresh()
	}
	t.opened, t.fresh = true, false
	poke := s.conn.poke
	t.wake.Store(&poke)
	s.mu.Lock()
	s.flows[t.id] = f
	s.mu.Unlock()
	return f
}

func (s *session) flow(id string) *flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flows[id]
}

// handle takes in a message of the server. It runs on the reader and waits for
// nobody.
func (s *session) handle(m protocol.Message) {
	switch m := m.(type) {
	case *protocol.Ready:
		s.conn.adopt(m.Keepalive)
		if f := s.flow(m.ID); f != nil {
			f.onReady(m)
			if m.Complete && m.Length != nil && f.t.sent.Load() == 0 {
				f.t.resumedFrom.Store(*m.Length)
			}
			f.t.reported(f)
			s.c.log.Debug("ready", zap.String("id", m.ID), zap.Int64("cursor", m.Cursor), zap.Int64("offset", m.Offset))
		}
	case *protocol.Ack:
		if f := s.flow(m.ID); f != nil {
			if f.onAck(m) {
				s.c.retry.progress.Add(1)
				f.t.reported(f)
			}
		}
	case *protocol.Done:
		if f := s.flow(m.ID); f != nil {
			s.c.retry.progress.Add(1)
			f.t.done(m)
		}
	case *protocol.Error:
		if f := s.flow(m.ID); f != nil && !m.EndsConnection() {
			f.t.settle(nil, fromServer(m))
		} else if m.EndsConnection() {
			s.conn.fail(m)
		}
	case *protocol.Goaway:
		s.conn.fail(&goaway{time.Duration(m.RetryAfterMS) * time.Millisecond})
	}
}
