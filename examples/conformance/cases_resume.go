package main

import (
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// resuming: connections that end, and what comes after.
func resuming() []*Case {
	return []*Case{
		{Name: "same-id", Must: "After a connection that broke it opens the same id, on another.", Level: Must, Section: "8",
			size: 600_000, expect: Success, script: breakOnce, check: cameBack},
		{Name: "resume", Must: "What was called durable is not sent again.", Level: Should, Section: "8",
			size: 600_000, expect: Success, script: breakOnce, check: func(p *play) {
				if p.again > 0 {
					p.wrong("%d bytes came below an offset that was told", p.again)
				}
				cameBack(p)
			}},
		{Name: "lost-received", Must: "What was only called received may be asked for again, and is sent again.", Level: Must, Section: "8",
			size: 600_000, expect: Success, script: lossyCrash, check: cameBack},
		{Name: "cut-message", Must: "A message whose end did not get through is sent again, as far as the server says.", Level: Must, Section: "4.3",
			size: 600_000, expect: Success, script: cutMessage, check: cameBack},
		{Name: "holes", Must: "What is `missing` between what the server has gets there, whether by sending on from the cursor or by lanes.", Level: Must, Section: "7.1, 11",
			size: 600_000, expect: Success, script: holes, check: cameBack},
		{Name: "have-other", Must: "Where the server `have`s bytes that are not the file's, the two are not mixed: the client says so, or begins anew under another id.", Level: Must, Section: "8",
			size: 300_000, newID: true, script: haveOther, check: notMixed},
		{Name: "late-echo", Must: "A `superseded` behind a connection of its own that broke may be an echo of that: it opens the upload once more.", Level: Should, Section: "8",
			size: 600_000, expect: Success, script: lateEcho, check: cameBack},
		{Name: "silence", Must: "Two intervals without a message are the end of a connection: it makes another.", Level: Must, Section: "12",
			size: 600_000, expect: Success, script: silence, check: cameBack},
		{Name: "silence-after-finish", Must: "Also when it has sent everything, and waits for `done`.", Level: Must, Section: "12",
			size: 100_000, expect: Success, script: silenceAfterFinish, check: cameBack},
		{Name: "heartbeats", Must: "Heartbeats alone, one in each interval, keep the connection: it does not give up.", Level: Must, Section: "12",
			size: 700_000, expect: Success, script: onlyHeartbeats, check: oneConnection},
		{Name: "stream", Must: "A stream of unknown length is opened without `length`, and ended by `finish`.", Level: Must, Section: "5.1, 5.3",
			size: 500_000, stream: true, expect: Success},
		{Name: "stream-resume", Must: "A stream goes on after a connection that broke: what is not durable yet can be sent again.", Level: Should, Section: "8",
			size: 600_000, stream: true, expect: Success, script: lossyCrash, check: cameBack},
	}
}

// cameBack demands a connection after the one the script broke.
func cameBack(p *play) {
	if p.act == 0 {
		p.skip("the client never got as far as the scene")
	} else if len(p.conns) < 2 {
		p.wrong("it made no other connection")
	}
}

// breakOnce cuts the connection when half the file is there, all of it durable.
func breakOnce(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.window, c.chunk = 64<<10, 16<<10
	if c.opens() && c.takes(len(c.p.file)/2) {
		c.p.act = 1
		c.breaks()
	}
}

// lateEcho breaks a connection, and comes to an open on it when the next one is
// there.
func lateEcho(c *conn) {
	switch {
	case c.p.act == 0:
		breakOnce(c)
	case c.p.act == 1 && c.asks():
		c.p.act = 2
		c.fail(&protocol.Error{Code: protocol.Superseded, Detail: "Another connection goes on.", Resumable: true})
	default:
		c.serve()
	}
}

// breaks cuts the connection as soon as the client knows how far the server is.
func (c *conn) breaks() {
	c.byHand = true // or it would be through before
	c.ping("do you know")
	c.await(2*time.Second, func() bool { return c.ponged("do you know") })
	c.broke = true
	c.cut()
}

// lossyCrash cuts the connection when half the file is there, and forgets what
// was not durable.
func lossyCrash(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.window, c.chunk, c.lag = 128<<10, 16<<10, 100_000
	if c.opens() && c.takes(len(c.p.file)/2) {
		c.p.act = 1
		c.breaks()
		c.up.lose(c.up.told)
	}
}

func cutMessage(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.p.act = 1
	c.broke = true
	c.w.cutAt.Store(int64(len(c.p.file))/2 + 1000)
	c.serve()
}

// holes loses the middle of what it has.
func holes(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	// Nothing but the beginning is called durable, so the rest may be lost.
	c.lag = int64(len(c.p.file))
	if c.opens() && c.takes(len(c.p.file)/2) {
		c.p.act = 1
		c.breaks()
		clear(c.up.got[100_000:200_000])
	}
}

// haveOther has some of another file under the id.
func haveOther(c *conn) {
	other := int64(100_000)
	if !c.asks() {
		return
	}
	if c.p.act > 0 && c.up != c.p.uploads[0] {
		c.serve() // begun anew
		return
	}
	c.p.act = 1
	u := c.up
	u.claims = func(r *protocol.Ready) {
		r.Offset, r.Received = other, other
		r.Have = []protocol.Have{{Range: protocol.Range{Start: 0, End: &other}, CRC32C: 0xDECAFBAD}}
		r.Missing = []protocol.Range{{Start: other, End: r.Length}}
		if !c.eager {
			r.Cursor = other
		}
	}
	for i := range u.got[:other] {
		u.got[i] = true
	}
	if !c.eager {
		c.start, c.cursor = other, other
	}
	c.stay(dwell) // bytes that do not wait for ready are not to be taken for those behind it
	c.ready()
	for c.await(0, func() bool { return c.asked || c.finishing || c.cancelling }) {
		switch {
		case c.asked:
			c.serve()
		case c.cancelling:
			c.cancelling = false
			c.send(&protocol.Done{ID: u.id, Cancelled: true})
		case u.finish.Digest == nil:
			c.p.wrong("it finished the upload without a digest, and so mixed two files")
			c.finishing = false
			u.done = u.answer()
			c.send(u.done)
		default:
			c.fail(&protocol.Error{Code: protocol.DigestMismatch, Detail: "The bytes are not those that were announced."})
		}
	}
}

func notMixed(p *play) {
	if p.verdict.Outcome == Success && len(p.uploads) < 2 {
		p.wrong("the client says success (%s), although the bytes would be those of two files", p.verdict.Said)
	}
}

const shortInterval = 400 * time.Millisecond

func silence(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.window, c.chunk, c.interval = 64<<10, 16<<10, shortInterval
	if c.opens() && c.takes(len(c.p.file)/2) {
		c.p.act = 1
		c.silent()
	}
}

// silent says nothing more, and watches how long the client bears that.
func (c *conn) silent() {
	c.mute = true
	began := time.Now()
	c.drain()
	if took := time.Since(began); took > 10*shortInterval {
		c.p.wrong("it bore %v of silence, the interval was %v", took.Round(10*time.Millisecond), shortInterval)
	}
}

func silenceAfterFinish(c *conn) {
	c.interval = shortInterval
	if c.p.act > 0 {
		c.interval = usualInterval
		c.serve()
		return
	}
	if c.opens() && c.finishes() {
		c.p.act = 1
		c.silent()
	}
}

func onlyHeartbeats(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.byHand, c.interval, c.beat = true, time.Second, 900*time.Millisecond
	if c.opens() && c.takes(1) && c.stay(4*time.Second) {
		c.p.act = 1
		c.byHand = false
		c.ack()
		c.serve()
	}
}
