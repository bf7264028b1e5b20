package main

import (
	"slices"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// away is how long the server asks to be left alone.
const away = 900 * time.Millisecond

// waiting: what a client does between two connections.
func waiting() []*Case {
	return []*Case{
		{Name: "goaway", Must: "After `goaway` it comes back, not before `retry-after-ms`, and opens the same id.", Level: Must, Section: "14",
			size: 600_000, expect: Success, script: leave(func(c *conn) {
				c.send(&protocol.Goaway{ID: c.up.id, Offset: c.up.told, RetryAfterMS: away.Milliseconds()})
				c.close(1012, "draining")
			}), check: waited},
		{Name: "goaway-after-finish", Must: "Also when `finish` was sent: it opens the id again to hear what came of it.", Level: Must, Section: "9.1, 14",
			size: 100_000, expect: Success, script: goawayAfterFinish, check: waited},
		{Name: "retry-after", Must: "An `error` that is resumable is waited for as long as its `retry-after-ms` says.", Level: Should, Section: "12, 16",
			size: 600_000, expect: Success, script: leave(func(c *conn) {
				c.fail(&protocol.Error{Code: protocol.Overloaded, Detail: "Too much to do.", Resumable: true, RetryAfterMS: away.Milliseconds()})
			}), check: waited},
		{Name: "unknown-code", Must: "An error code it does not know is taken by `resumable` and `retry-after-ms`.", Level: Must, Section: "16",
			size: 600_000, expect: Success, script: leave(func(c *conn) {
				c.fail(&protocol.Error{Code: "moon-phase", Detail: "Not tonight.", Resumable: true, RetryAfterMS: away.Milliseconds()})
			}), check: waited},
		{Name: "close-codes", Must: "Where only a close is seen, with 1001, 1011, 1012 or 1013, it comes back.", Level: Must, Section: "16",
			size: 600_000, expect: Success, script: closeCodes, check: func(p *play) {
				if p.act > 0 && p.act < len(closes) {
					p.wrong("it did not come back after a close with %d", closes[p.act-1])
				}
			}},
		{Name: "back-off", Must: "It waits between attempts, longer each time.", Level: Should, Section: "12",
			size: 1000, expect: Success, script: closeAtOnce, check: backsOff},
		{Name: "jitter", Must: "There is a random part in what it waits, so that the clients of one server do not come back all at once.", Level: Should, Section: "12",
			size: 600_000, expect: Success, script: breakOften, pooled: true},
	}
}

// leave has the server part with the client in its own way, at half of the file.
func leave(part func(*conn)) func(*conn) {
	return func(c *conn) {
		if c.p.act > 0 {
			c.serve()
			return
		}
		c.window, c.chunk = 64<<10, 16<<10
		if c.opens() && c.takes(len(c.p.file)/2) {
			c.p.act = 1
			c.parted = time.Now()
			c.leaves = true
			part(c)
		}
	}
}

// waited demands that the client came back, and not too early.
func waited(p *play) {
	for i, c := range p.conns {
		if !c.leaves {
			continue
		}
		if i+1 == len(p.conns) {
			p.wrong("it did not come back; it says %s: %s", p.verdict.Outcome, p.verdict.Said)
		} else if pause := p.conns[i+1].began.Sub(c.parted); pause < away {
			p.wrong("it came back after %v, retry-after-ms was %d", pause.Round(time.Millisecond), away.Milliseconds())
		}
		return
	}
	p.skip("the client never got as far as the scene")
}

func goawayAfterFinish(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	if c.opens() && c.finishes() {
		c.p.act = 1
		c.up.done = c.up.answer()
		c.finishing = false
		c.parted, c.leaves = time.Now(), true
		c.send(&protocol.Goaway{ID: c.up.id, Offset: c.up.told, RetryAfterMS: away.Milliseconds()})
		c.close(1012, "draining")
	}
}

var closes = []int{1001, 1011, 1012, 1013}

func closeCodes(c *conn) {
	act := c.p.act
	if act == len(closes) {
		c.serve()
		return
	}
	c.window, c.chunk = 64<<10, 16<<10
	if c.opens() && c.takes((act+1)*len(c.p.file)/5) {
		c.p.act++
		c.close(closes[act], "")
	}
}

// closed is how often closeAtOnce closes.
const closed = 4

func closeAtOnce(c *conn) {
	if c.n > closed {
		c.serve()
		return
	}
	if c.asks() {
		c.asked = false
		c.close(1013, "")
	}
}

func backsOff(p *play) {
	if len(p.conns) <= closed {
		p.wrong("it gave up after %d attempts within %v, all of which ended with a close with 1013", len(p.conns), time.Since(p.began).Round(time.Second))
		return
	}
	// What a client on a busy machine takes to hear of a close is no pause. So the
	// last is counted from the close and those before from the client's answer: what
	// the machine adds speaks for the client.
	var pauses []time.Duration
	for i := range closed {
		since := p.conns[i].over
		if i == closed-1 || since.IsZero() || since.After(p.conns[i+1].began) { // it closes when it has the time
			since = p.conns[i].parted
		}
		pauses = append(pauses, p.conns[i+1].began.Sub(since).Round(time.Millisecond))
	}
	if first, last := slices.Min(pauses[:closed-1]), pauses[closed-1]; first < 20*time.Millisecond || last < 2*first {
		p.wrong("it waited %v between attempts, expected more each time", pauses)
	}
}

// breakOften cuts the connection again and again, with some progress in between.
func breakOften(c *conn) {
	const times = 6
	act := c.p.act
	if act == times {
		c.serve()
		return
	}
	c.window, c.chunk = 64<<10, 16<<10
	if c.opens() && c.takes((act+1)*len(c.p.file)/(times+1)) {
		c.p.act++
		c.breaks()
	}
}
