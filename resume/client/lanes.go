package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// An upload over several lanes is filled by them first: they share what is
// missing (plan.go), each over a connection of its own. When all is received the
// lanes go, and the upload is opened once more as a whole, like any other, to be
// finished: if anything got lost meanwhile, that is where it shows.

const (
	leastForLanes = 16 << 20 // smaller sources do not repay a second connection
	mostRefills   = 8
)

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
	plan := newPlan(missing, t.lanes)
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	var lanes sync.WaitGroup
	for i := range t.lanes {
		lanes.Go(func() {
			l := &lane{t: t, plan: plan, index: i, want: firstPiece}
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
		f := newFlow(t, s.credit, nil, false)
		l.connected(conn)
		l.flows = []*flow{f}
		return l.handle, func() error {
			open := t.opening(false, nil)
			if open == nil {
				return nil // over
			}
			if err := conn.send(open); err != nil {
				return err
			}
			if err := s.until(t, func() bool { return f.answer() != nil }); err != nil || t.over() {
				return err
			}
			ready := f.answer()
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
