package main

import (
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// This file is the server as it should be; the cases depart from it where they
// have to.

// serve behaves well, to the end of the connection.
func (c *conn) serve() {
	for c.await(time.Hour, func() bool { return c.asked || c.finishing || c.cancelling }) {
		switch {
		case c.asked:
			c.ready()
		case c.cancelling:
			c.cancelling = false
			c.send(&protocol.Done{ID: c.up.id, Cancelled: true})
		default:
			c.finish()
		}
	}
}

// opened waits for the open.
func (c *conn) asks() bool {
	return c.await(0, func() bool { return c.asked })
}

// opens waits for the open and answers it.
func (c *conn) opens() bool {
	if !c.asks() {
		return false
	}
	c.ready()
	return true
}

// takes waits until the upload has n bytes from its start on.
func (c *conn) takes(n int) bool {
	return c.await(0, func() bool { return c.up.received(0) >= int64(n) })
}

// finishes waits for the finish, of an upload that is whole.
func (c *conn) finishes() bool {
	return c.await(0, func() bool { return c.finishing })
}

// ready answers an open.
func (c *conn) ready() {
	u := c.up
	c.asked, c.readied = false, true
	received := u.received(0)
	r := &protocol.Ready{
		ID: u.id, Offset: received, Received: received, Cursor: c.start, Length: u.open.Length,
		Missing: u.missing(), Have: u.have(), Window: c.window, Chunk: c.chunk, Limits: c.limits, Complete: u.done != nil,
		Keepalive: protocol.Keepalive{IntervalMS: c.interval.Milliseconds(), TimeoutMS: 4 * c.interval.Milliseconds()},
	}
	r.Limits.MaxAge = 86400
	if u.claims != nil {
		u.claims(r)
	}
	if r.Complete {
		r.Window, r.Chunk, r.Missing = 0, 0, nil
	}
	u.told = max(u.told, r.Offset)
	c.last = protocol.Ack{ID: u.id, Offset: c.start, Received: c.start, Window: c.window, Chunk: c.chunk}
	c.granted(c.start)
	c.send(r)
	if u.done != nil {
		c.send(u.done)
	}
}

// ack says how far the server is, and grants credit from there.
func (c *conn) ack() {
	durable := max(c.last.Offset, c.cursor-c.lag)
	c.up.told = max(c.up.told, min(durable, c.up.received(0)))
	c.last = protocol.Ack{ID: c.up.id, Offset: durable, Received: c.cursor, Window: c.window, Chunk: c.chunk}
	c.granted(c.cursor)
	c.send(&c.last)
}

// heartbeat says the same again.
func (c *conn) heartbeat() {
	switch {
	case !c.readied:
		c.send(&protocol.Ack{Window: c.window, Chunk: c.chunk})
	case c.finishing:
		c.send(&protocol.Ack{ID: c.up.id, Offset: c.cursor, Received: c.cursor, State: protocol.StateDelivering})
	default:
		c.send(&c.last)
	}
}

// finish answers a finish.
func (c *conn) finish() {
	u := c.up
	if !u.complete() && c.p.othersAt(c) {
		c.await(0, u.complete) // other lanes are bringing it in
	}
	if !u.complete() {
		c.p.find("finish", "finish was said when %v was missing", ranges(u.runs(false)))
		c.fail(&protocol.Error{Code: protocol.MismatchingOffset, Detail: "Bytes are missing.", Resumable: true, Missing: u.runs(false)})
		return
	}
	u.done = u.answer()
	c.finishing = false
	c.send(u.done)
}

// othersAt reports whether another connection that lives is at the upload of c.
func (p *play) othersAt(c *conn) bool {
	for _, o := range p.conns {
		if o != c && o.up == c.up && o.parted.IsZero() {
			return true
		}
	}
	return false
}
