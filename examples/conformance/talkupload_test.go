package main

import (
	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

func (c *talk) open() error {
	c.opens++
	length := int64(len(c.file))
	m := &protocol.Open{ID: c.id, Name: "file.bin", Length: &length}
	if c.stream && c.fault != "says a length of a stream" {
		m.Length = nil
	}
	if c.fault != "shows its ticket once" || !c.shown {
		m.Ticket, c.shown = given, true
	}
	if c.fault == "says a wrong length" && m.Length != nil {
		length++
	}
	switch c.fault {
	case "says nothing before its bytes":
		return c.write(websocket.MessageBinary, c.file[:min(10, len(c.file))])
	case "writes a field twice":
		p := protocol.Encode(m)
		return c.write(websocket.MessageText, append([]byte(`{"name":"a","name":"b",`), p[1:]...))
	}
	m.Eager = c.fault == "sends again what is durable" && c.opens > 1
	if err := c.say(m); err != nil || !m.Eager && (c.fault != "does not wait for ready" || c.impatient) {
		return err
	}
	c.impatient, c.ahead = true, int64(min(10, len(c.file)))
	return c.write(websocket.MessageBinary, c.file[:c.ahead])
}

func (c *talk) send() error {
	if c.fault == "always begins at the first byte" && !c.stream {
		c.cursor = 0
	}
	for c.cursor < int64(len(c.file)) {
		n := c.may()
		for n == 0 {
			if _, err := c.hear(true); err != nil {
				return err
			}
			n = c.may()
		}
		at := c.cursor
		c.cursor += n
		c.sent = c.cursor
		if err := c.write(websocket.MessageBinary, c.file[at:c.cursor]); err != nil {
			return err
		}
		for more := true; more; {
			var err error
			if more, err = c.hear(false); err != nil {
				return err
			}
		}
	}
	return c.finish()
}

// may returns how many bytes may go out now.
func (c *talk) may() int64 {
	left := int64(len(c.file)) - c.cursor
	window, chunk := c.window, c.chunk
	switch c.fault {
	case "overruns the window":
		window += 1 << 20
	case "keeps the widest window":
		window = c.widest
	case "takes a window of 0 for none":
		if window == 0 {
			window = 1 << 30
		}
	case "has a chunk of its own":
		chunk = 100_000
	}
	most := c.limits.MaxAppendSize
	if most > 0 && c.fault != "ignores max-append-size" {
		chunk = min(chunk, most)
	}
	credit := c.received + window - c.cursor
	want := min(chunk, left)
	switch {
	case c.fault == "never uses the last byte of credit" && credit == want && want == left:
		return 0
	case credit >= want:
		return want
	case c.fault == "waits for room for a whole chunk":
		return 0
	case c.cursor == c.received:
		return max(credit, 0)
	}
	return 0
}

func (c *talk) finish() error {
	if c.cursor > c.start {
		sum := crc(c.file[c.start:])
		if c.fault == "says a wrong check" {
			sum++
		}
		if err := c.say(&protocol.Check{Offset: c.cursor, CRC32C: sum}); err != nil {
			return err
		}
	}
	if len(c.file) == 0 && c.fault == "forgets files without bytes" || len(c.file) == 1 && c.fault == "forgets files of one byte" {
		return &ended{text: "nothing to send", final: true}
	}
	length, sum := int64(len(c.file)), crc(c.file)
	m := &protocol.Finish{Length: &length, Digest: &protocol.Digest{CRC32C: &sum}}
	switch c.fault {
	case "finishes with a wrong length":
		length++
	case "finishes with a wrong digest":
		sum++
	case "mixes what the server has with what it sends":
		m.Digest = nil
	}
	c.finished = true
	return c.say(m)
}
