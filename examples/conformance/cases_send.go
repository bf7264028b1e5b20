package main

import (
	"bytes"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// sending: bytes, credit, and what the server says meanwhile.
func sending() []*Case {
	return []*Case{
		{Name: "cursor", Must: "Bytes are sent from the `cursor` that `ready` tells, in order, and are those of the file there.", Level: Must, Section: "7.1",
			size: 600_000, expect: Success, script: lossyCrash},
		{Name: "window", Must: "It never has more on its way than `window`.", Level: Must, Section: "7.2",
			size: 900_000, expect: Success, script: func(c *conn) { c.dole(16<<10, 64<<10) }},
		{Name: "window-shrinks", Must: "It goes by the latest `window`, also where that is smaller than the one before.", Level: Must, Section: "7.2",
			size: 700_000, expect: Success, script: func(c *conn) { c.dole(8<<10, 128<<10, 96<<10, 64<<10, 32<<10, 16<<10) }},
		{Name: "window-zero", Must: "A `window` of 0 is a pause: it sends nothing, does not give up, and goes on when the next `ack` lifts it.", Level: Must, Section: "7.2",
			size: 700_000, expect: Success, script: windowZero, check: oneConnection},
		{Name: "waiting-for-space", Must: "While acks say `waiting-for-space` it neither gives up nor comes back on another connection, and it goes on when they stop saying so.", Level: Must, Section: "7.4",
			size: 700_000, expect: Success, script: noRoom, check: oneConnection},
		{Name: "whole-window", Must: "A file of exactly the `window` is sent without waiting for more credit.", Level: Should, Section: "7.2",
			size: 256 << 10, expect: Success, script: wholeWindow},
		{Name: "small-window", Must: "A `window` smaller than `chunk` is used: it sends smaller messages rather than none.", Level: Should, Section: "7.2, 13",
			size: 290_000, expect: Success, script: smallWindow},
		{Name: "chunk", Must: "Its messages have at most `chunk` bytes, and follow it when it changes.", Level: Should, Section: "13",
			size: 700_000, expect: Success, script: changingChunk},
		{Name: "max-append-size", Must: "Its messages have at most `max-append-size` bytes, where `limits` says that.", Level: Must, Section: "6.1.2",
			size: 600_000, expect: Success, script: func(c *conn) { c.limits.MaxAppendSize = 10_000; c.serve() }},
		{Name: "ping", Must: "A ping in the middle of the data is answered, with its payload, before the data is through.", Level: Must, Section: "12; RFC 6455, 5.5.2",
			size: 700_000, expect: Success, script: pingInData},
		{Name: "reads-while-sending", Must: "It reads what the server says while it sends: acks must not pile up.", Level: Must, Section: "7.2, 12",
			size: 6 << 20, expect: Success, script: chatty},
		{Name: "check", Must: "A `check` says the cursor, and the CRC-32C of what this connection sent up to there.", Level: Must, Section: "5.2",
			size: 300_000, expect: Success, check: func(p *play) {
				for _, c := range p.conns {
					if c.checks > 0 {
						return
					}
				}
				p.skip("the client says no check")
			}},
	}
}

// dwell is how long the server watches whether more comes than it asked for.
const dwell = 50 * time.Millisecond

// dole acks only once the credit is used up, with one window after the other,
// then behaves.
func (c *conn) dole(chunk int64, windows ...int64) {
	c.byHand, c.window, c.chunk = true, windows[0], chunk
	if !c.opens() {
		return
	}
	for i := 1; !c.up.complete(); i++ {
		edge := c.last.Received + c.last.Window
		c.await(time.Second, func() bool { return c.cursor > edge-chunk || c.up.complete() })
		c.stay(dwell) // somebody who does not mind the edge goes on
		if !c.parted.IsZero() {
			return
		}
		c.window = windows[min(i, len(windows)-1)]
		if c.readied {
			c.ack()
		}
	}
	c.serve()
}

// takesFirst takes the first bytes by hand; false when the case is past that, or
// the connection over.
func (c *conn) takesFirst() bool {
	if c.p.act > 0 {
		c.serve()
		return false
	}
	c.byHand, c.interval = true, time.Second
	return c.opens() && c.takes(1)
}

func windowZero(c *conn) {
	if !c.takesFirst() {
		return
	}
	c.window = 0
	c.ack()
	if !c.stay(2500 * time.Millisecond) {
		return
	}
	c.p.act = 1
	c.window, c.byHand = 64<<10, false
	c.ack()
	c.serve()
}

// noRoom takes the first bytes, and then finds no room for a while.
func noRoom(c *conn) {
	if !c.takesFirst() {
		return
	}
	// What was granted before stays granted.
	c.last.State, c.last.Window = protocol.StateWaitingForSpace, 0
	c.send(&c.last)
	if !c.stay(2500 * time.Millisecond) {
		return
	}
	c.p.act = 1
	c.byHand = false
	c.ack()
	c.serve()
}

func oneConnection(p *play) {
	if n := len(p.conns); n > 1 {
		p.wrong("it made %d connections, expected it to stay with the first", n)
	}
}

func wholeWindow(c *conn) {
	c.byHand = true
	if !c.opens() {
		return
	}
	if c.await(3*time.Second, c.up.complete); !c.up.complete() && c.parted.IsZero() {
		c.p.wrong("it sent %d bytes of a window of %d and waited, although no more is to come", c.up.received(0), c.window)
		c.ack()
	}
	c.byHand = false
	c.serve()
}

func smallWindow(c *conn) {
	c.byHand, c.window, c.chunk = true, 20_000, 64<<10
	if !c.opens() {
		return
	}
	for before := c.cursor; !c.up.complete(); before = c.cursor {
		edge := c.last.Received + c.last.Window
		c.await(3*time.Second, func() bool { return c.cursor >= edge || c.up.complete() })
		if !c.parted.IsZero() {
			return
		}
		if c.cursor == before && c.last.Received == before && !c.up.complete() {
			c.p.wrong("it sent nothing for 3 s with a window of %d and a chunk of %d", c.window, c.chunk)
			c.window = 256 << 10
		}
		c.ack()
	}
	c.serve()
}

func changingChunk(c *conn) {
	c.byHand, c.window, c.chunk = true, 64<<10, 16<<10
	if !c.opens() {
		return
	}
	for i := 1; !c.up.complete(); i++ {
		edge := c.last.Received + c.last.Window
		c.await(time.Second, func() bool { return c.cursor > edge-c.chunk || c.up.complete() })
		c.stay(dwell)
		if !c.parted.IsZero() {
			return
		}
		c.chunk = []int64{16 << 10, 3000, 32 << 10, 7001}[i%4]
		c.ack()
	}
	c.serve()
}

func pingInData(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.chunk = 16 << 10
	payload := "125 bytes: " + string(make([]byte, 114))
	if !c.opens() || !c.takes(1) {
		return
	}
	c.byHand = true
	c.ping(payload)
	c.ping("")
	c.p.act = 1
	if !c.await(5*time.Second, func() bool { return c.ponged(payload) || c.ponged("") }) && c.parted.IsZero() {
		c.p.wrong("no pong came within 5 s")
	}
	if c.ponged("") && !c.ponged(payload) {
		c.p.skip("the client answered the later of two pings only, which it may")
	}
	c.byHand = false
	c.ack()
	c.serve()
}

// chatty says more than sockets hold that nobody reads, while the client has more
// to send than they hold.
func chatty(c *conn) {
	c.window, c.chunk = int64(len(c.p.file)), 32<<10
	if c.p.act == 0 && c.opens() && c.takes(1) {
		c.p.act = 1
		pad := bytes.Repeat([]byte(" "), 100_000)
		c.dress = func(p []byte) []byte { return append(p, pad...) }
		for range 80 {
			c.heartbeat()
		}
		c.dress = nil
	}
	c.serve()
}
