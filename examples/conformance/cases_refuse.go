package main

import (
	"github.com/wsingest/wsingest/middleware/protocol"
)

// refusals: what a client must not try again.
func refusals() []*Case {
	refusal := func(name, must string, e protocol.Error) *Case {
		return &Case{Name: name, Must: must, Level: Must, Section: "16", size: 600_000, expect: Failure, lingers: true,
			script: refuse(e), check: func(p *play) { notAgain(p); toldOf(e.Detail)(p) }}
	}
	anew := func(name, must string, code protocol.Code) *Case {
		return &Case{Name: name, Must: must, Level: Must, Section: "16", size: 100_000, newID: true, lingers: true,
			script: refuse(protocol.Error{Code: code, Detail: "Not this one."}), check: notAgain}
	}
	return []*Case{
		refusal("forbidden", "`forbidden` is told to the person, in the server's words, and not tried again.",
			protocol.Error{Code: protocol.Forbidden, Detail: "Ask Ada for a ticket."}),
		refusal("max-size-exceeded", "`max-size-exceeded` likewise.",
			protocol.Error{Code: protocol.MaxSizeExceeded, Detail: "At most 42 bytes, please."}),
		refusal("quota-exceeded", "`quota-exceeded` likewise.",
			protocol.Error{Code: protocol.QuotaExceeded, Detail: "You have too much here already."}),
		refusal("bad-message", "`bad-message` likewise.",
			protocol.Error{Code: protocol.BadMessage, Detail: "This makes no sense."}),
		refusal("inconsistent-length", "`inconsistent-upload-length` is told, and not tried again, although the upload itself is resumable.",
			protocol.Error{Code: protocol.InconsistentLength, Detail: "It had another length.", Resumable: true}),
		refusal("unknown-refusal", "A code it does not know, not `resumable`, is told and not tried again.",
			protocol.Error{Code: "wrong-colour", Detail: "It has to be blue."}),
		refusal("rejected-early", "`rejected` while it sends ends the upload as well: it stops, and tells the person.",
			protocol.Error{Code: protocol.Rejected, Detail: "Pictures only, please."}),
		anew("not-found", "After `not-found` the id is not used again: the client begins anew under another, or says so.", protocol.NotFound),
		anew("bad-id", "After `bad-id` neither.", protocol.BadID),
		{Name: "superseded", Must: "After `superseded` it does not open the upload again by itself.", Level: Must, Section: "8, 16",
			size: 600_000, expect: Failure, lingers: true, check: notAgain,
			script: refuse(protocol.Error{Code: protocol.Superseded, Detail: "Another connection goes on.", Resumable: true})},
		{Name: "superseded-close", Must: "Nor after a close with 4409 of which the message was lost.", Level: Must, Section: "8, 16",
			size: 600_000, expect: Failure, lingers: true, check: notAgain, script: closeHalfway(4409)},
		{Name: "close-1008", Must: "A close with 1008 of which the message was lost is the end, too.", Level: Must, Section: "16",
			size: 600_000, expect: Failure, lingers: true, check: notAgain, script: closeHalfway(1008)},
	}
}

// refuse says an error on the first connection, as soon as some bytes are there,
// and to each open of the same upload after that; another it takes in.
func refuse(e protocol.Error) func(*conn) {
	return func(c *conn) {
		if !c.asks() {
			return
		}
		said := e
		switch {
		case c.up != c.p.uploads[0] && c.p.c.newID:
			c.serve()
		case c.p.act > 0:
			c.fail(&said)
		default:
			c.window, c.chunk, c.byHand = 64<<10, 16<<10, true
			if e.Code != protocol.NotFound && e.Code != protocol.BadID {
				c.ready()
				c.takes(1)
			}
			c.p.act = 1
			c.fail(&said)
		}
	}
}

// closeHalfway closes with a code and no message, and again if need be.
func closeHalfway(code int) func(*conn) {
	return func(c *conn) {
		c.window, c.chunk, c.byHand = 64<<10, 16<<10, true
		if c.opens() && c.takes(1) {
			c.p.act = 1
			c.close(code, "")
		}
	}
}
