package client

import (
	"slices"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

func (c *Client) enqueueLocked(t *transfer) {
	c.queue = append(c.queue, t)
	if !c.running {
		c.running = true
		c.wg.Go(c.run)
	}
	c.poke()
}

func (c *Client) unqueueLocked(t *transfer) {
	if i := slices.Index(c.queue, t); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
	}
}

// first returns the first queued upload that is not over and that fits.
func (c *Client) first(fits func(*transfer) bool) *transfer {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.queue {
		if !t.over() && fits(t) {
			return t
		}
	}
	return nil
}

func anyTransfer(*transfer) bool { return true }

// poke wakes whoever waits for work.
func (c *Client) poke() {
	select {
	case c.work <- struct{}{}:
	default:
	}
	if conn := c.conn.Load(); conn != nil {
		conn.poke()
	}
}

// run keeps a connection up while there are uploads to send.
func (c *Client) run() {
	for {
		idle := false
		for c.first(anyTransfer) == nil {
			idle = true
			select {
			case <-c.work:
			case <-c.ctx.Done():
				return
			}
		}
		if idle {
			c.retry.reset()
		}
		err := c.connect()
		if c.ctx.Err() != nil {
			c.settleAll(ErrClosed)
			return
		}
		if err := c.recover(err); err != nil {
			c.settleAll(err)
		}
	}
}

// connect makes one connection and uses it to its end.
func (c *Client) connect() error {
	defer c.conn.Store(nil)
	return c.withConn(c.ctx, c.retry, func(conn *conn) (func(protocol.Message), func() error) {
		c.conn.Store(conn)
		s := newSession(c, conn)
		return s.handle, s.run
	})
}

// recover takes the end of a connection: it settles the upload that is to
// blame, or waits until the next attempt is due. Its error settles all.
func (c *Client) recover(err error) error {
	if err == errRefill || c.first(anyTransfer) == nil {
		return nil // nobody is waiting for anything
	}
	if server, ok := isVerdict(err); ok {
		t := c.first(func(t *transfer) bool { return t.id == server.ID })
		if t == nil {
			return fromServer(server)
		}
		t.settle(nil, fromServer(server))
		return nil
	}
	pause, err := c.retry.next(err)
	if err != nil {
		return err
	}
	return c.sleep(pause)
}

// sleep waits, but not longer than somebody wants it to.
func (c *Client) sleep(pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for c.first(anyTransfer) != nil {
		select {
		case <-timer.C:
			return nil
		case <-c.work:
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
	return nil
}

func (c *Client) settleAll(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.queue {
		t.settle(nil, err)
	}
}
