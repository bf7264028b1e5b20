package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// An upload over several lanes is filled by them first: they share what is
// missing (plan.go), each over a connection of its own. The last one to be
// through finishes the upload. Where that does not go well, it is opened once more
// as a whole, like any other: if anything got lost meanwhile, that is where it
// shows.

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

// fill returns when the server has received every byte of t, which may be
// finished then. One upload is filled at a time: more would only share the same
// line.
func (c *Client) fill(t *transfer) error {
	select {
	case c.filling <- struct{}{}:
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
	free := sync.OnceFunc(func() { <-c.filling })
	defer free()
	missing, fresh := []resume.Range{{Start: 0, End: t.src.Size}}, t.fresh
	if fresh {
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
	plan := newPlan(missing, t.lanes, fresh)
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	var lanes sync.WaitGroup
	for i := range t.lanes {
		lanes.Go(func() {
			l := &lane{t: t, plan: plan, free: free, index: i, want: firstPiece}
			if err := c.retrying(ctx, func(r *retrier) error { return c.runLane(ctx, l, r) }); err != nil {
				cancel(err)
			}
		})
	}
	lanes.Wait()
	return context.Cause(ctx)
}

// settling is how long the server is given to make durable what it received over
// lanes that are gone.
const settling = 100 * time.Millisecond

// probe asks what is missing, on a connection of its own: an opening of the
// whole would be in the lanes' way. What is missing is what is not durable; some
// of it may have been received, and need not be sent again. So it asks until
// nothing changes any more.
func (c *Client) probe(t *transfer, r *retrier) (missing []resume.Range, err error) {
	l := &lane{t: t, retry: r}
	err = c.withConn(t.ctx, r, func(conn *conn) (func(protocol.Message), func() error) {
		s := newSender(t.ctx, conn)
		l.connected(conn)
		return l.handle, func() error {
			for before := int64(-1); ; {
				ready, err := l.ask(s)
				if err != nil || ready == nil || ready.Complete {
					return err
				}
				missing = missingIn(ready, t.src.Size)
				left := share(missing).size()
				if left == before {
					if err := t.begin(ready); err != nil {
						return &finalError{err}
					}
					return nil
				}
				before = left
				if err := s.pause(t, settling); err != nil {
					return err
				}
			}
		}
	})
	return missing, err
}

// ask opens the upload as a whole, and returns the answer; nil: it is over.
func (l *lane) ask(s *sender) (*protocol.Ready, error) {
	open := l.opening(false, nil)
	if open == nil {
		return nil, nil
	}
	f := newFlow(l.t, s.credit, nil, false)
	l.begin(f)
	if err := s.conn.send(open); err != nil {
		return nil, err
	}
	if err := s.until(l.t, func() bool { return f.answer() != nil }); err != nil || l.t.over() {
		return nil, err
	}
	return f.answer(), nil
}

// missingIn returns what a ready says is missing of size bytes.
func missingIn(ready *protocol.Ready, size int64) (missing []resume.Range) {
	for _, m := range ready.Missing {
		end := size
		if m.End != nil {
			end = min(end, *m.End)
		}
		missing = append(missing, resume.Range{Start: m.Start, End: end})
	}
	return missing
}
