package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// An upload over several lanes is filled by them first: each takes a piece of
// what is missing, sends it over a connection of its own, and takes the next
// when the server has it. Small pieces share the work between lanes of unequal
// speed; each costs a round trip. When all is received the lanes go, and the
// upload is opened once more as a whole, like any other, to be finished: if
// anything got lost meanwhile, that is where it shows.

const (
	leastForLanes = 16 << 20 // smaller sources do not repay a second connection
	leastPiece    = 8 << 20
	pieceAlign    = 1 << 20
	piecesPerLane = 4
	mostRefills   = 8
)

// piece is a range that one lane sends, and how far it is.
type piece struct {
	resume.Range
	run                     run
	sent, received, durable int64
}

// Each of these raises a mark to a position, and returns by how much it rose.
func (p *piece) sentTo(to int64) int64     { return p.raise(&p.sent, to) }
func (p *piece) receivedTo(to int64) int64 { return p.raise(&p.received, to) }
func (p *piece) durableTo(to int64) int64  { return p.raise(&p.durable, to) }

func (p *piece) raise(mark *int64, to int64) int64 {
	d := max(0, to-max(*mark, p.Start))
	*mark = max(*mark, to)
	return d
}

// cut divides what is missing into pieces for n lanes.
func cut(missing []resume.Range, n int) (pieces []*piece) {
	var total int64
	for _, r := range missing {
		total += r.End - r.Start
	}
	size := max(leastPiece, total/int64(n*piecesPerLane))
	for _, r := range missing {
		for start := r.Start; start < r.End; {
			end := min(r.End, (start+size+pieceAlign-1)/pieceAlign*pieceAlign)
			if r.End-end < leastPiece/2 {
				end = r.End
			}
			pieces = append(pieces, &piece{Range: resume.Range{Start: start, End: end}})
			start = end
		}
	}
	return pieces
}

// startFill has t filled by lanes, and queued for the rest. c.mu is held.
func (c *Client) startFill(t *transfer) {
	c.wg.Go(func() {
		err := c.fill(t)
		if c.ctx.Err() != nil {
			err = ErrClosed
		}
		if err != nil {
			t.settle(nil, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.closed && !t.over() {
			c.enqueueLocked(t)
		}
	})
}

// errRefill ends a connection that holds an upload which lanes are to fill.
var errRefill = errors.New("bytes are missing again")

// refill sends t back to its lanes, for what the server has lost since.
func (c *Client) refill(t *transfer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unqueueLocked(t)
	t.refills++
	if t.refills > mostRefills {
		t.settle(nil, fmt.Errorf("%w: the server lost bytes %d times", ErrGaveUp, t.refills))
		return nil
	}
	c.startFill(t)
	return errRefill
}

// fill returns when the server has received every byte of t. One upload is
// filled at a time: more would only share the same line.
func (c *Client) fill(t *transfer) error {
	select {
	case c.filling <- struct{}{}:
		defer func() { <-c.filling }()
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
	missing := []resume.Range{{Start: 0, End: t.src.Size}}
	if t.fresh {
		t.beginFresh()
		t.fresh = false
	} else {
		err := c.retrying(t.ctx, func(r *retrier) (err error) {
			missing, err = c.probe(t, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	t.sha.allow(t.src.Size)
	pieces := cut(missing, t.lanes)
	work := make(chan *piece, len(pieces))
	for _, p := range pieces {
		work <- p
	}
	close(work)

	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	var lanes sync.WaitGroup
	for range min(t.lanes, len(pieces)) {
		lanes.Go(func() {
			l := &lane{t: t, work: work}
			if err := c.retrying(ctx, func(r *retrier) error { return c.runLane(ctx, l, r) }); err != nil {
				cancel(err)
			}
		})
	}
	lanes.Wait()
	return context.Cause(ctx)
}

// probe asks what is missing, on a connection of its own: an opening of the
// whole would be in the lanes' way.
func (c *Client) probe(t *transfer, r *retrier) (missing []resume.Range, err error) {
	l := &lane{t: t, retry: r}
	err = c.withConn(t.ctx, r, func(conn *conn) (func(protocol.Message), func() error) {
		s := newSender(t.ctx, conn)
		l.conn, l.flow = conn, newFlow(t, s.credit, false)
		return l.handle, func() error {
			open := t.opening(false, nil)
			if open == nil {
				return nil // over
			}
			if err := conn.send(open); err != nil {
				return err
			}
			if err := s.until(t, func() bool { return l.flow.answer() != nil }); err != nil || t.over() {
				return err
			}
			ready := l.flow.answer()
			if ready.Complete {
				return nil
			}
			if err := t.begin(ready); err != nil {
				return &finalError{err}
			}
			for _, m := range ready.Missing {
				end := t.src.Size
				if m.End != nil {
					end = min(end, *m.End)
				}
				missing = append(missing, resume.Range{Start: m.Start, End: end})
			}
			return nil
		}
	})
	return missing, err
}
