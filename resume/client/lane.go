package client

import (
	"context"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// lane sends pieces of one upload over one connection at a time.
type lane struct {
	t     *transfer
	plan  *plan
	free  func()    // lets the lanes of another upload begin
	index int       // in the plan
	want  int64     // bytes of the next piece
	full  bool      // the latest had as many
	took  time.Time // when it was taken

	retry  *retrier
	tries  int
	conn   *conn
	ticket *string // that of the first piece on the connection, for those behind it

	mu       sync.Mutex
	todo     []*piece // taken, and not known to be received, oldest first
	flows    []*flow  // of the connection: the one the server is at, and those it has yet to come to
	complete bool     // the upload is, says the server
	finished bool     // finish was sent
}

func (c *Client) runLane(ctx context.Context, l *lane, r *retrier) error {
	l.retry = r
	if l.tries > 0 {
		l.t.reconnects.Add(1)
	} else if l.take() == nil {
		l.plan.busy.Add(-1)
		return nil // others have taken everything
	}
	l.tries++
	return c.withConn(ctx, r, func(conn *conn) (func(protocol.Message), func() error) {
		l.connected(conn)
		return l.handle, func() error { return l.send(newSender(ctx, conn)) }
	})
}

// connected begins a connection, of which nothing is known yet.
func (l *lane) connected(conn *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.flows, l.ticket = conn, nil, nil
}

// take takes another piece out of the plan, nil when nothing is left. Its size
// follows how long the lane had to do with the one before.
func (l *lane) take() *piece {
	switch d := time.Since(l.took); {
	case l.took.IsZero():
	case d < l.plan.time()/2 && l.full:
		l.want *= 2
	case d > l.plan.time()*2:
		l.want = max(l.want/2, leastPiece)
	}
	p := l.plan.take(l.index, l.want)
	if p == nil {
		return nil
	}
	l.took, l.full = time.Now(), p.End-p.Start >= l.want
	l.mu.Lock()
	l.todo = append(l.todo, p)
	l.mu.Unlock()
	return p
}

// left returns the pieces that are not known to be received.
func (l *lane) left() []*piece {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*piece(nil), l.todo...)
}

// opened reports whether the upload is open on the connection: a new one of a lane
// that has nothing left to send opens nothing.
func (l *lane) opened() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.flows) > 0
}

// over: nothing is to be sent any more.
func (l *lane) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.complete || l.t.over()
}

// send sends what is left of an earlier connection, from where the server says,
// and then piece after piece, as fast as credit comes. The last lane to be
// through finishes the upload.
func (l *lane) send(s *sender) error {
	eager := l.plan.fresh && l.tries == 1
	for _, p := range l.left() {
		if err := l.piece(s, p, eager); err != nil {
			return err
		}
	}
	for !l.over() {
		p := l.take()
		if p == nil {
			break
		}
		if err := l.piece(s, p, l.plan.fresh); err != nil {
			return err
		}
	}
	if err := s.until(l.t, func() bool { return l.over() || len(l.left()) == 0 }); err != nil {
		return err
	}
	if l.plan.busy.Add(-1) > 0 || l.over() || !l.opened() {
		return nil
	}
	return l.finish(s)
}

// finish finishes the upload on the lane's connection, which saves the round
// trips of another one. Where that comes to nothing, since bytes were lost
// meanwhile or the connection is, the upload goes the usual way from here.
func (l *lane) finish(s *sender) error {
	c := l.t.c
	select {
	case c.ending <- struct{}{}:
		defer func() { <-c.ending }()
	default:
		return nil // an app that takes long would have one connection for each
	}
	l.free()
	m, err := l.t.finish()
	if err != nil {
		l.t.settle(nil, err)
		return nil
	}
	l.mu.Lock()
	l.finished = true
	l.mu.Unlock()
	err = s.conn.send(m)
	if err == nil {
		err = s.until(l.t, l.t.over)
	}
	if _, ok := isVerdict(err); ok {
		return err
	}
	return nil
}

// piece opens a piece and sends it. eager: nothing of it can be with the server,
// which need not be asked.
func (l *lane) piece(s *sender, p *piece, eager bool) error {
	open := l.opening(eager, &protocol.Range{Start: p.Start, End: &p.End})
	if open == nil {
		return nil // over
	}
	f := newFlow(l.t, s.credit, p, eager)
	l.begin(f)
	if err := s.conn.send(open); err != nil {
		return err
	}
	if !eager {
		if err := s.until(l.t, func() bool { return f.answer() != nil }); err != nil || l.t.over() {
			return err
		}
		if f.answer().Complete {
			return nil
		}
	}
	return s.stream(f, p.End)
}

// opening makes the message that opens a piece. A ticket is good for all pieces
// on a connection, as it is for an upload however long.
func (l *lane) opening(eager bool, r *protocol.Range) *protocol.Open {
	if l.ticket != nil {
		open := l.t.open(eager, r)
		open.Ticket = *l.ticket
		return open
	}
	open := l.t.opening(eager, r)
	if open != nil {
		l.ticket = &open.Ticket
	}
	return open
}

// begin makes f the latest opening on the connection. Until its ready comes, what
// the server said of sizes before holds.
func (l *lane) begin(f *flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.flows); n > 0 {
		f.before = l.flows[n-1].limits()
	}
	l.flows = append(l.flows, f)
}

func (l *lane) handle(m protocol.Message) {
	switch m := m.(type) {
	case *protocol.Ready:
		l.conn.adopt(m.Keepalive)
		l.ready(m)
	case *protocol.Ack:
		l.ack(m)
	case *protocol.Done:
		l.t.done(m)
	case *protocol.Error:
		l.failed(m)
	case *protocol.Goaway:
		l.conn.fail(&goaway{time.Duration(m.RetryAfterMS) * time.Millisecond})
	}
}

// failed takes in an error, which ends the lane, and may be the answer to finish.
func (l *lane) failed(m *protocol.Error) {
	l.mu.Lock()
	answer := l.finished && !m.EndsConnection()
	l.mu.Unlock()
	if answer {
		l.t.settle(nil, fromServer(m))
		return
	}
	l.conn.fail(m)
}

// ready takes in the answer to the oldest open that has none. The server goes
// in order: what was opened before it has been received.
func (l *lane) ready(m *protocol.Ready) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flows) > 1 && l.flows[0].answer() != nil {
		l.received(l.flows[0])
		l.flows = l.flows[1:]
	}
	if len(l.flows) == 0 || l.flows[0].answer() != nil {
		return // nobody asked
	}
	f := l.flows[0]
	f.onReady(m)
	l.t.reported(f)
	if f.all() { // by an earlier connection
		l.received(f)
	}
	l.complete = l.complete || m.Complete
}

// ack takes in how far the server is with the piece it is at.
func (l *lane) ack(m *protocol.Ack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flows) == 0 {
		return
	}
	f := l.flows[0]
	if !f.onAck(m) {
		return
	}
	l.retry.progress.Add(1)
	l.t.reported(f)
	if f.all() {
		l.received(f)
	}
}

// received: nothing of f has to be sent again. l.mu is held.
func (l *lane) received(f *flow) {
	for i, p := range l.todo {
		if p == f.lane {
			l.t.received.Add(p.receivedTo(p.End))
			l.todo = append(l.todo[:i:i], l.todo[i+1:]...)
			l.retry.progress.Add(1)
			return
		}
	}
}
