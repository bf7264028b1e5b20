package client

import (
	"context"
	"io"
	"time"

	"github.com/coder/websocket"
)

// flushFrom is the size of a message that is worth a write of its own. Smaller
// ones wait in the cork for those that follow.
const flushFrom = 32 << 10

// sender puts the bytes of one upload after the other onto one connection.
type sender struct {
	conn   *conn
	ctx    context.Context // ends: stop
	credit *credit
	buf    []byte // of one message, used again for each
}

func newSender(ctx context.Context, c *conn) *sender {
	return &sender{conn: c, ctx: ctx, credit: newCredit()}
}

// wait flushes, then sleeps until something happened. It returns why the
// connection is of no more use, once it is not.
func (s *sender) wait() error {
	if err := s.conn.flush(); err != nil {
		return err
	}
	select {
	case <-s.conn.wake:
		if s.conn.isDead() {
			return s.conn.err
		}
		return nil
	case <-s.conn.dead:
		return s.conn.err
	case <-s.ctx.Done():
		return ErrClosed
	}
}

// until waits for cond, or for the upload to be over.
func (s *sender) until(t *transfer, cond func() bool) error {
	for !cond() && !t.over() {
		if err := s.wait(); err != nil {
			return err
		}
	}
	return nil
}

// pause waits for d, or for the upload to be over.
func (s *sender) pause(t *transfer, d time.Duration) error {
	end := time.Now().Add(d)
	defer time.AfterFunc(d, s.conn.poke).Stop()
	return s.until(t, func() bool { return !time.Now().Before(end) })
}

// stream sends the source's bytes from the flow's position up to end, or up to
// the source's own end when end is negative. An error of the source settles the
// upload; what is returned is an error of the connection.
func (s *sender) stream(f *flow, end int64) error {
	t := f.t
	for !t.over() {
		pos, left := f.position(), int64(maxChunk)
		if end >= 0 {
			if left = end - pos; left <= 0 {
				f.run().put(&t.sums)
				return nil
			}
		}
		p, err := s.read(f, pos, left)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			t.settle(nil, err)
			return nil
		}
		if len(p) == 0 {
			if err := s.wait(); err != nil {
				return err
			}
			continue
		}
		to := f.advance(len(p))
		if err := s.conn.write(websocket.MessageBinary, p, len(p) >= flushFrom); err != nil {
			return err
		}
		if t.file != nil {
			f.run().extend(&t.sums, pos, end, p)
		}
		t.sentTo(f, to)
	}
	return nil
}

// read takes from the source what may be sent now, if anything.
func (s *sender) read(f *flow, pos, left int64) ([]byte, error) {
	limits := f.limits()
	n := s.credit.ask(left, limits)
	if n == 0 {
		return nil, nil
	}
	if int64(len(s.buf)) < n {
		s.buf = make([]byte, n)
	}
	return f.t.feed.at(pos, s.buf[:n], min(n, max(1, limits.MinAppendSize)))
}
