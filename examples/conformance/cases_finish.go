package main

import (
	"strings"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// finishing: the end of an upload, and how it is heard.
func finishing() []*Case {
	return []*Case{
		{Name: "finish", Must: "`finish` comes when all bytes were sent, with the length of the file, and none comes behind it.", Level: Must, Section: "5.3, 9.1",
			size: 300_000, expect: Success},
		{Name: "digest", Must: "The digests it says are those of the file.", Level: Must, Section: "5.3", size: 300_000, expect: Success, check: func(p *play) {
			for _, u := range p.uploads {
				if u.finish != nil && u.finish.Digest != nil {
					return
				}
			}
			p.skip("the client says no digest")
		}},
		{Name: "slow-delivery", Must: "Heartbeats with `state` are waited through for as long as they come, and say nothing about credit.", Level: Must, Section: "6.2, 9.1",
			size: 100_000, expect: Success, script: slowDelivery, check: oneConnection},
		{Name: "done-lost", Must: "When the connection ends behind `finish`, it opens the same id again, sends no bytes where `ready` says `complete`, and takes the `done` that is stored.", Level: Must, Section: "9.1, 9.3",
			size: 300_000, expect: Success, script: doneLost, check: cameBack},
		{Name: "complete-other", Must: "A `done` of an upload that is complete already, whose length or digest are not those of the file, is not taken for success.", Level: Should, Section: "6.3, 8",
			size: 300_000, newID: true, script: completeOther, check: notMixed},
		{Name: "finish-missing", Must: "A `finish` that is answered by `missing` is not the end: it opens the id again and sends what is missing.", Level: Must, Section: "9.2, 16",
			size: 600_000, expect: Success, script: finishMissing, check: cameBack},
		{Name: "digest-mismatch", Must: "A digest that does not fit is told as a failure, or the file is sent again under another id; the same is not opened again.", Level: Must, Section: "9.2, 16",
			size: 100_000, newID: true, script: digestMismatch, check: notAgain},
		{Name: "check-mismatch", Must: "A `check` that did not fit takes the client back to the `offset` of the error: it opens the id again and goes on from there.", Level: Must, Section: "5.2",
			size: 300_000, expect: Success, script: checkMismatch, check: func(p *play) {
				if p.act == 0 {
					p.skip("the client says no check")
					return
				}
				cameBack(p)
			}},
		{Name: "rejected", Must: "`rejected` is a failure, and the person is told what the app answered.", Level: Must, Section: "9.2, 16",
			size: 100_000, expect: Failure, script: rejects, check: toldOf(appAnswer)},
		{Name: "rejected-lost", Must: "It is the same when it is heard only after the id was opened again.", Level: Must, Section: "9.3",
			size: 100_000, expect: Failure, script: rejectedLost, check: toldOf(appAnswer)},
	}
}

func slowDelivery(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.interval, c.beat = time.Second, 900*time.Millisecond
	if c.opens() && c.finishes() && c.stay(4*time.Second) {
		c.p.act = 1
		c.serve()
	}
}

func doneLost(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	if c.opens() && c.finishes() {
		c.p.act = 1
		c.finishing = false
		c.up.done = c.up.answer()
		c.broke = true
		c.cut()
	}
}

// completeOther has the whole of another file under the id.
func completeOther(c *conn) {
	if !c.asks() {
		return
	}
	if c.up == c.p.uploads[0] {
		for i := range c.up.got {
			c.up.got[i] = true
		}
		done := c.up.answer()
		wrong := protocol.CRC32C(0xDECAFBAD)
		done.Digest = &protocol.Digest{CRC32C: &wrong, SHA256: make([]byte, 32)}
		c.up.done = done
		c.up.claims = func(r *protocol.Ready) {
			end := done.Length
			r.Have = []protocol.Have{{Range: protocol.Range{Start: 0, End: &end}, CRC32C: wrong}}
		}
		if !c.eager {
			c.start, c.cursor = done.Length, done.Length
		}
		c.stay(dwell)
	}
	c.serve()
}

func finishMissing(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.lag = int64(len(c.p.file))
	if c.opens() && c.finishes() {
		c.p.act = 1
		clear(c.up.got[400_000:500_000])
		c.fail(&protocol.Error{Code: protocol.MismatchingOffset, Detail: "Bytes are missing.", Resumable: true, Missing: c.up.runs(false)})
	}
}

func digestMismatch(c *conn) {
	if !c.asks() {
		return
	}
	if c.up != c.p.uploads[0] {
		c.serve()
		return
	}
	c.ready()
	if c.finishes() {
		c.fail(&protocol.Error{Code: protocol.DigestMismatch, Detail: "The bytes are not those that were announced."})
		c.serve()
	}
}

func checkMismatch(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	c.lag = int64(len(c.p.file))
	if !c.opens() || !c.await(0, func() bool { return c.checks > 0 || c.finishing }) {
		return
	}
	if c.checks == 0 {
		c.serve()
		return
	}
	c.p.act = 1
	c.up.lose(c.start)
	c.fail(&protocol.Error{Code: protocol.DigestMismatch, Detail: "The bytes are not those that were sent.", Resumable: true, Offset: &c.start})
	c.up.lose(c.start)
}

// appAnswer is what the app behind the server says of a file it does not take.
const appAnswer = "We take no pictures of ducks."

func (u *upload) reject() {
	u.done = &protocol.Error{ID: u.id, Code: protocol.Rejected, Detail: "The app does not take the file.",
		Response: &protocol.Response{Status: 422, Headers: map[string][]string{"Content-Type": {"text/plain"}}, Body: appAnswer}}
}

func rejects(c *conn) {
	if c.opens() && c.finishes() {
		c.finishing = false
		c.up.reject()
		c.send(c.up.done)
		c.serve()
	}
}

func rejectedLost(c *conn) {
	if c.p.act > 0 {
		c.serve()
		return
	}
	if c.opens() && c.finishes() {
		c.p.act = 1
		c.finishing = false
		c.up.reject()
		c.broke = true
		c.cut()
	}
}

// toldOf demands that the client says some words.
func toldOf(words string) func(*play) {
	return func(p *play) {
		if p.verdict.Outcome == Failure && !strings.Contains(p.verdict.Said, words) {
			p.wrong("the client says %q, expected it to tell %q", p.verdict.Said, words)
		}
	}
}

// notAgain demands that what was refused for good is not asked for again.
func notAgain(p *play) {
	if len(p.uploads) == 0 {
		p.wrong("it opened nothing")
		return
	}
	first, opens := p.uploads[0].id, 0
	for _, c := range p.conns {
		for _, id := range c.opened {
			if id == first {
				opens++
			}
		}
	}
	if opens > 1 {
		p.wrong("it opened the id %d times, expected no more after it was refused", opens)
	}
	if p.verdict.Outcome == Success && len(p.uploads) < 2 {
		p.wrong("the client says success (%s), expected a failure", p.verdict.Said)
	}
}
