package client

import (
	"context"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// lane sends pieces of one upload over one connection at a time.
type lane struct {
	t    *transfer
	work <-chan *piece
	todo []*piece // taken, and not confirmed to be received

	retry *retrier
	tries int
	conn  *conn

	mu   sync.Mutex
	flow *flow
}

// take returns the i-th piece that is to be sent, a new one if need be.
func (l *lane) take(i int) *piece {
	if i == len(l.todo) {
		p, ok := <-l.work
		if !ok {
			return nil
		}
		l.todo = append(l.todo, p)
	}
	return l.todo[i]
}

func (c *Client) runLane(ctx context.Context, l *lane, r *retrier) error {
	l.retry = r
	if l.tries++; l.tries > 1 {
		l.t.reconnects.Add(1)
	}
	return c.withConn(ctx, r, func(conn *conn) (func(protocol.Message), func() error) {
		l.conn = conn
		return l.handle, func() error { return l.send(newSender(ctx, conn)) }
	})
}

// send sends piece after piece. The server answers in order, so ready for one
// confirms those before it.
func (l *lane) send(s *sender) error {
	for i := 0; ; i = 1 {
		p := l.take(i)
		if p == nil {
			break
		}
		f, err := l.open(s, p)
		if err != nil || l.t.over() {
			return err
		}
		l.todo = l.todo[i:]
		if f.answer().Complete {
			break
		}
		if err := s.stream(f, p.End); err != nil || l.t.over() {
			return err
		}
	}
	if f := l.current(); f != nil {
		return s.until(l.t, func() bool { return f.all() })
	}
	return nil
}

func (l *lane) open(s *sender, p *piece) (*flow, error) {
	f := newFlow(l.t, s.credit, false)
	f.lane = p
	l.mu.Lock()
	l.flow = f
	l.mu.Unlock()
	open := l.t.opening(false, &protocol.Range{Start: p.Start, End: &p.End})
	if open == nil {
		return f, nil // over
	}
	if err := s.conn.send(open); err != nil {
		return nil, err
	}
	return f, s.until(l.t, func() bool { return f.answer() != nil })
}

func (l *lane) current() *flow {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flow
}

func (l *lane) handle(m protocol.Message) {
	f := l.current()
	if f == nil {
		return
	}
	switch m := m.(type) {
	case *protocol.Ready:
		l.conn.adopt(m.Keepalive)
		f.onReady(m)
		l.t.reported(f)
	case *protocol.Ack:
		if f.onAck(m) {
			l.retry.progress.Add(1)
			l.t.reported(f)
		}
	case *protocol.Done:
		l.t.done(m)
	case *protocol.Error:
		l.conn.fail(m)
	case *protocol.Goaway:
		l.conn.fail(&goaway{time.Duration(m.RetryAfterMS) * time.Millisecond})
	}
}
