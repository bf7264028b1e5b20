package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// talk is one connection of the simple client.
type talk struct {
	*simple
	ws    *websocket.Conn
	ctx   context.Context
	inbox chan []byte // closed at the end of the connection
	err   error       // why; read after inbox was closed

	start, cursor, received int64
	ahead                   int64 // bytes sent before ready
	window, chunk, widest   int64
	limits                  protocol.Limits
	patience                time.Duration
	heard                   time.Time
	ready, moved            bool
	have                    []protocol.Have
	missing                 []protocol.Range
	done                    *message

	within, confused bool // in the middle of a message, and a ping was there once
}

func (c *talk) read() {
	defer close(c.inbox)
	for {
		p, err := c.next()
		if err != nil {
			c.err = err
			return
		}
		c.inbox <- p
	}
}

// next reads a message.
func (c *talk) next() ([]byte, error) {
	_, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	c.within = true
	p, err := io.ReadAll(r)
	c.within = false
	if c.confused && c.fault == "is confused by a ping within a message" {
		return nil, &ended{text: "a frame of the wrong kind", final: true}
	}
	return p, err
}

// hear takes in a message; with wait it waits for one.
func (c *talk) hear(wait bool) (heard bool, err error) {
	if c.fault == "reads only when it has nothing to send" {
		if !wait {
			return false, nil
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.patience)
		defer cancel()
		_, p, err := c.ws.Read(ctx)
		if err != nil {
			return false, c.closed(err)
		}
		return true, c.take(p)
	}
	var silence <-chan time.Time
	if wait {
		timer := time.NewTimer(time.Until(c.heard.Add(c.patience)))
		defer timer.Stop()
		silence = timer.C
	} else {
		now := make(chan time.Time)
		close(now)
		select {
		case p, ok := <-c.inbox:
			if !ok {
				return false, c.closed(c.err)
			}
			return true, c.take(p)
		default:
			return false, nil
		}
	}
	select {
	case p, ok := <-c.inbox:
		if !ok {
			return false, c.closed(c.err)
		}
		return true, c.take(p)
	case <-silence:
		return false, &ended{text: "silence", moved: c.moved}
	case <-c.ctx.Done():
		return false, &ended{text: "out of patience", final: true}
	}
}

// closed is what a close without a message means.
func (c *talk) closed(err error) error {
	if end, ok := err.(*ended); ok {
		return end
	}
	end := &ended{text: err.Error(), moved: c.moved}
	switch code := websocket.CloseStatus(err); code {
	case 1008:
		c.closes++
		end.final = c.fault != "comes back after a close with 1008" || c.closes > 1
	case 1009:
		end.final = true
	case 4409:
		end.final = c.takenOver()
	case -1:
		c.broke = true
	case 1001:
		end.final = c.fault == "gives up over a close with 1001"
	}
	return end
}

// takenOver reports whether superseded is the end, and not the echo of a connection
// that broke.
func (c *talk) takenOver() bool {
	echo := c.broke && c.fault != "takes its own echo for another"
	c.broke = false
	return !echo && c.fault != "takes back what another took over"
}

func (c *talk) say(m protocol.Message) error {
	return c.write(websocket.MessageText, protocol.Encode(m))
}

func (c *talk) write(typ websocket.MessageType, p []byte) error {
	if err := c.ws.Write(c.ctx, typ, p); err != nil {
		for c.fault != "reads only when it has nothing to send" { // the server's last words
			if _, err := c.hear(true); err != nil {
				return err
			}
		}
		return c.closed(err)
	}
	return nil
}

func (c *talk) take(p []byte) error {
	var m message
	if c.fault == "chokes on what it does not know" {
		if err := known(p); err != nil {
			return &ended{text: err.Error(), final: true}
		}
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return &ended{text: err.Error(), final: true}
	}
	if c.fault != "takes heartbeats for silence" || m.Type != "ack" || m.Received > c.received {
		c.heard = time.Now()
	}
	switch m.Type {
	case "ready":
		c.begin(&m)
	case "ack":
		if c.ready && m.State == "" && m.ID == c.id {
			c.moved = c.moved || m.Received > c.received
			c.received, c.window, c.chunk = m.Received, m.Window, m.Chunk
			c.told = max(c.told, m.Received)
			c.widest = max(c.widest, m.Window)
		}
	case "done":
		c.done = &m
	case "goaway":
		end := &ended{text: "the server goes", moved: c.moved}
		if c.fault != "ignores the delay of goaway" {
			end.after = time.Duration(m.RetryAfter) * time.Millisecond
		}
		return end
	case "error":
		return c.failed(&m)
	default:
		if c.fault != "passes over unknown types" {
			c.ws.Close(websocket.StatusPolicyViolation, "")
			return &ended{text: "unknown type " + m.Type, final: true}
		}
	}
	return nil
}

func (c *talk) begin(m *message) {
	c.ready = true
	c.start, c.cursor, c.received = m.Cursor, m.Cursor+c.ahead, m.Cursor
	c.window, c.chunk, c.widest, c.limits = m.Window, m.Chunk, max(m.Window, c.widest), m.Limits
	if c.fault != "never notices silence" {
		c.patience = 2 * time.Duration(m.Keepalive.IntervalMS) * time.Millisecond
	}
	c.done, c.have, c.missing = nil, m.Have, m.Missing
	if m.Complete {
		c.done = &message{Type: "complete"}
	}
}

func (c *talk) failed(m *message) error {
	end := &ended{text: m.Detail, final: !m.Resumable, moved: c.moved, after: time.Duration(m.RetryAfter) * time.Millisecond}
	if m.Response != nil {
		end.text += " " + m.Response.Body
	}
	switch m.Code {
	case protocol.Rejected:
		if c.fault == "takes rejected for success" {
			c.done = m
			return nil
		}
		if c.fault == "keeps the app's answer to itself" {
			end.text = m.Detail
		}
		return end
	case protocol.Superseded:
		end.final = c.takenOver()
		return end
	case protocol.InconsistentLength, protocol.BadMessage:
		end.final = true
	case protocol.MismatchingOffset:
		end.final = c.fault == "gives up when bytes are missing"
	case protocol.DigestMismatch:
		if m.Offset != nil && c.fault == "gives up over a check" {
			end.final = true
		} else if m.Offset == nil && c.fault == "opens again after a digest that does not fit" {
			end.final = false
			return end
		}
	}
	if end.final && c.fault == "tries again what was refused" && m.Code != protocol.DigestMismatch {
		end.final = false
	}
	return end
}

// run uploads, on one connection.
func (c *talk) run() error {
	c.heard = time.Now()
	if err := c.open(); err != nil {
		return err
	}
	for !c.ready {
		if _, err := c.hear(true); err != nil {
			return err
		}
	}
	if c.done == nil && !c.same() {
		return &ended{text: "the file has changed", final: true}
	}
	if why := c.stuck(); c.done == nil && why != "" {
		return &ended{text: why, final: true}
	}
	if c.done != nil && c.fault == "sends what is complete" {
		if err := c.write(websocket.MessageBinary, c.file[:10]); err != nil {
			return err
		}
	}
	if c.done == nil {
		if err := c.send(); err != nil {
			return err
		}
	}
	for c.done == nil || c.done.Type == "complete" {
		if _, err := c.hear(true); err != nil {
			return err
		}
	}
	if d := c.done.Digest; d != nil && *d.CRC32C != crc(c.file) && c.fault != "believes any done" {
		return &ended{text: "the server has another file", final: true}
	}
	c.ws.Close(websocket.StatusNormalClosure, "")
	return nil
}

// same reports whether what the server has is of this file.
func (c *talk) same() bool {
	if c.fault == "mixes what the server has with what it sends" {
		return true
	}
	for _, h := range c.have {
		if *h.Range.End > int64(len(c.file)) || crc(c.file[h.Range.Start:*h.Range.End]) != h.CRC32C {
			return false
		}
	}
	return true
}

// stuck says why a client with too little memory cannot go on from here.
func (c *talk) stuck() string {
	switch c.fault {
	case "gives up when what was received is lost":
		if c.start < c.told {
			return "what was received is lost"
		}
	case "gives up when a message was cut":
		if c.told <= c.start && c.start < c.sent {
			return "a message was cut"
		}
	case "gives up over a hole":
		if len(c.missing) > 1 {
			return "the server has a hole"
		}
	}
	return ""
}
