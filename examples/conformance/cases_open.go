package main

import (
	"net/http"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// connecting: what holds before the first message.
func connecting() []*Case {
	return []*Case{
		{Name: "subprotocol", Must: "It offers the subprotocol `wsingest.v1`.", Level: Must, Section: "3.1", size: 1000, expect: Success},
		{Name: "no-subprotocol", Must: "Where the server does not select the subprotocol, it sends nothing and ends the connection.", Level: Must, Section: "3.1",
			size: 1000, bare: func(_ *play, n int) bool { return n == 1 }, script: noSubprotocol},
		{Name: "frames", Must: "Its frames are those of RFC 6455: masked, with no bit set that was not negotiated.", Level: Must, Section: "3.1",
			size: 300_000, expect: Success},
		{Name: "unavailable", Must: "A 503 before the upgrade is not the end: it comes back, and not before `Retry-After` (a page cannot see that).", Level: Should, Section: "3.3, 12",
			size: 1000, expect: Success, check: unavailable,
			refuse: func(_ *play, n int) int {
				if n == 1 {
					return http.StatusServiceUnavailable
				}
				return 0
			}},
	}
}

// noSubprotocol plays a server that takes the connection for something else,
// and is right the next time.
func noSubprotocol(c *conn) {
	if c.n > 1 {
		c.serve()
		return
	}
	c.mute = true
	c.await(5*time.Second, func() bool { return c.messages > 0 || !c.parted.IsZero() })
	switch {
	case c.messages > 0:
		c.p.wrong("it sent a message on a connection without the subprotocol")
		c.cut()
	case c.parted.IsZero():
		c.p.wrong("it kept a connection without the subprotocol for 5 s")
	}
}

func unavailable(p *play) {
	if len(p.conns) == 0 {
		p.wrong("it did not come back after a 503")
		return
	}
	if pause := p.conns[0].began.Sub(p.refused[0]); !p.conns[0].browser && pause < time.Second {
		p.wrong("it came back after %v, Retry-After was 1 s", pause.Round(time.Millisecond))
	}
}

// opening: the id, the open, and what follows it.
func opening() []*Case {
	return []*Case{
		{Name: "open", Must: "The first message is an `open`.", Level: Must, Section: "5.1", size: 1000, expect: Success},
		{Name: "messages", Must: "Its messages are one JSON object each, with fields of the types and sizes of section 5.", Level: Must, Section: "4, 5",
			size: 1000, expect: Success},
		{Name: "id", Must: "Each upload has an id of its own: 22 to 64 characters of `A-Z a-z 0-9 _ -`, from at least 128 random bits.", Level: Must, Section: "5.1, 19.1",
			size: 1000, expect: Success, pooled: true},
		{Name: "ticket", Must: "A ticket that it was given is in every `open`, on each connection.", Level: Must, Section: "5.1, 19.6",
			size: 300_000, ticket: true, expect: Success, script: breakOnce, check: cameBack},
		{Name: "wait-for-ready", Must: "No byte is sent before `ready` was read, unless `open` says `eager`.", Level: Must, Section: "7.3",
			size: 100_000, expect: Success, script: slowReady},
		{Name: "empty", Must: "A file of no bytes is an upload like any other.", Level: Must, Section: "5.3", size: 0, expect: Success},
		{Name: "one-byte", Must: "A file of one byte is too.", Level: Must, Section: "5.3", size: 1, expect: Success},
		{Name: "length", Must: "The length it says is that of the file, and it sends no byte beyond it.", Level: Must, Section: "5.1, 7.1", size: 200_000, expect: Success},
		{Name: "unknown-fields", Must: "Members it does not know are ignored, at any depth, and so are a `state` it does not know and a member that is `null`.", Level: Must, Section: "4.1, 6.2, 20",
			size: 300_000, expect: Success, script: unknownFields},
		{Name: "unknown-type", Must: "A message of an unknown type ends the connection, with 1008 (from a page: with any code).", Level: Must, Section: "4.1",
			size: 300_000, script: unknownType},
		{Name: "fragments", Must: "A message of the server may come in several frames, with pings between them.", Level: Must, Section: "RFC 6455, 5.4",
			size: 300_000, expect: Success, script: func(c *conn) { c.pieces = 5; c.serve() }},
		{Name: "long-message", Must: "A message of the server may have 262,144 bytes.", Level: Must, Section: "17", size: 1000, expect: Success, script: longMessage},
	}
}

// slowReady lets the client wait, and says meanwhile what a server says that has
// no upload open yet.
func slowReady(c *conn) {
	c.beat = 100 * time.Millisecond
	if c.asks() && c.stay(400*time.Millisecond) {
		c.serve()
	}
}

func unknownFields(c *conn) {
	c.dress = func(p []byte) []byte {
		extra := `{"x-colour":"red","x-list":[{"a":[1,2.5e3,null]},"\ud83d\ude00"],"retry-after-ms":null,"x-deep":{"offset":-1,"type":"error"},`
		return append([]byte(extra), p[1:]...)
	}
	if c.opens() && c.finishes() {
		c.send(&protocol.Ack{ID: c.up.id, Offset: c.cursor, Received: c.cursor, State: "polishing"})
		c.serve()
	}
}

func unknownType(c *conn) {
	if c.n > 1 {
		c.serve()
		return
	}
	c.byHand, c.window = true, 64<<10 // it cannot be through before
	if !c.opens() || !c.takes(1) {
		return
	}
	c.say([]byte(`{"type":"applause","id":"` + c.up.id + `"}`))
	c.mute = true
	if !c.await(5*time.Second, func() bool { return !c.parted.IsZero() }) {
		c.p.wrong("it kept the connection for 5 s after a message of the type \"applause\"")
	} else if c.code != 1008 && !c.browser {
		c.p.wrong("it ended the connection with %s, expected 1008", closedWith(c.code))
	}
}

func longMessage(c *conn) {
	c.dress = func(p []byte) []byte {
		pad := make([]byte, protocol.MaxMessageSize-len(p)-len(`"x-pad":"",`))
		for i := range pad {
			pad[i] = 'x'
		}
		return append([]byte(`{"x-pad":"`+string(pad)+`",`), p[1:]...)
	}
	c.serve()
}
