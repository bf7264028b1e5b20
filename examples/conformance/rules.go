package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// This file is what is held against the client in every case, whatever else the
// case is about. Each breach goes by the name of the case that is about it.

// grant is the credit of one ready or ack.
type grant struct {
	edge  int64 // received + window, or what was granted before if that was more
	chunk int64
	most  int64 // max-append-size; 0: none
}

// granted notes the credit that is about to be told.
func (c *conn) granted(received int64) {
	g := grant{received + c.window, c.chunk, c.limits.MaxAppendSize}
	if n := len(c.grants); n > 0 {
		g.edge = max(g.edge, c.grants[n-1].edge)
	}
	c.grants = append(c.grants, g)
}

// take handles one frame of the client. It is false when the client closes.
func (c *conn) take(f frame) bool {
	switch f.op {
	case opPing:
		c.write(frame{fin: true, op: opPong, payload: f.payload})
	case opPong:
		c.p.note(c, "client: pong %q", f.payload)
		c.pongs = append(c.pongs, string(f.payload))
	case opClose:
		c.code = 1005
		if len(f.payload) >= 2 {
			c.code = int(binary.BigEndian.Uint16(f.payload))
		}
		c.p.note(c, "client closes with %d", c.code)
		if !c.closing { // a second close would be a frame behind the last
			c.write(frame{fin: true, op: opClose, payload: f.payload[:min(2, len(f.payload))]})
		}
		return false
	case opText, opBinary, opContinuation:
		if f.op != opContinuation {
			c.kind, c.partial = f.op, nil
		}
		c.partial = append(c.partial, f.payload...)
		if f.fin {
			c.message(c.kind, c.partial)
		}
	default:
		c.p.find("frames", "a frame has the opcode %#x, which RFC 6455 does not define", f.op)
		return false
	}
	return true
}

func (c *conn) message(kind byte, p []byte) {
	c.messages++
	if kind == opBinary {
		c.p.note(c, "client: %d bytes at %d", len(p), c.cursor)
		c.bytes(p)
		return
	}
	c.p.note(c, "client: %s", excerpt(p))
	m, err := protocol.DecodeClient(p)
	if err != nil {
		c.p.find("messages", "%v", err)
		c.fail(&protocol.Error{Code: protocol.BadMessage, Detail: err.Error()})
		return
	}
	if open, ok := m.(*protocol.Open); ok {
		c.open(open)
		return
	}
	if c.up == nil {
		c.p.find("open", "the first message is %s, expected an open", excerpt(p))
		return
	}
	switch m := m.(type) {
	case *protocol.Check:
		c.check(m)
	case *protocol.Finish:
		c.ends(m)
	case *protocol.Cancel:
		c.cancelling = true
	}
}

// madeHere begins the ids that the server makes for clients that say none.
const madeHere = "made-by-the-server"

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22,64}$`)

func (c *conn) open(m *protocol.Open) {
	p := c.p
	if m.ID == "" { // allowed: the server makes one
		m.ID = fmt.Sprintf("%s-%d-for-%s", madeHere, c.n, p.c.Name)
	} else if !idForm.MatchString(m.ID) {
		p.find("id", "the id is %q, expected 22 to 64 characters of A-Z a-z 0-9 _ -", m.ID)
	}
	if p.c.ticket && m.Ticket != given {
		p.find("ticket", "open has the ticket %q, expected %q", m.Ticket, given)
	}
	switch {
	case p.c.stream && m.Length != nil:
		p.find("stream", "open says length %d of a stream, whose length nobody knows yet", *m.Length)
	case !p.c.stream && m.Length != nil && *m.Length != int64(len(p.file)):
		p.find("length", "open says length %d, the file has %d bytes", *m.Length, len(p.file))
	}
	c.up, c.opened = p.upload(m), append(c.opened, m.ID)
	c.asked, c.readied, c.finishing, c.eager = true, false, false, m.Eager
	left := int64(protocol.InitialWindow)
	if n := len(c.grants); n > 0 {
		left = c.grants[n-1].edge - c.cursor
	}
	c.start, c.grants = c.up.received(0), nil
	if m.Range != nil {
		c.start = c.up.received(m.Range.Start)
	}
	if m.Eager {
		c.start = m.Start()
		c.grants = []grant{{edge: c.start + left, chunk: int64(len(p.file))}}
	}
	c.cursor = c.start
}

// bytes takes in a binary message.
func (c *conn) bytes(data []byte) {
	p, u := c.p, c.up
	switch {
	case u == nil:
		p.find("open", "the first message is binary, expected an open")
		return
	case !c.readied && !c.eager:
		p.find("wait-for-ready", "%d bytes came before ready was said, and open did not say eager", len(data))
		return
	case u.done != nil && !c.eager:
		p.find("done-lost", "%d bytes came for an upload of which ready said complete", len(data))
		return
	case u.done != nil:
		return // sent before it could know
	case c.finishing:
		p.find("finish", "%d bytes came behind finish", len(data))
		return
	}
	end := c.cursor + int64(len(data))
	c.compare(data)
	if end > int64(len(p.file)) {
		p.find("length", "bytes came up to position %d, the file ends at %d", end, len(p.file))
		return
	}
	c.obeys(int64(len(data)), end)
	for i := c.cursor; i < end; i++ {
		u.got[i] = true
	}
	p.again += max(0, min(end, u.told)-c.cursor)
	c.cursor = end
	if c.readied && !c.byHand && !c.mute {
		c.ack()
	}
}

// compare finds bytes that do not belong where the cursor stands.
func (c *conn) compare(data []byte) {
	file := c.p.file
	if here := file[c.cursor:]; bytes.HasPrefix(data, here[:min(len(here), len(data))]) && len(here) > 0 {
		return
	}
	if at := bytes.Index(file, data); at >= 0 && len(data) > 1 {
		c.p.find("cursor", "the bytes of position %d came where those of position %d belong", at, c.cursor)
	} else if c.cursor < int64(len(file)) {
		c.p.find("cursor", "bytes came for position %d that are not those of the file there", c.cursor)
	}
}

// obeys holds a message of n bytes that ends at position end against what was
// granted. Which of the latest grants the client has read is not known, but one
// that reaches as far as this message it must have.
func (c *conn) obeys(n, end int64) {
	read := len(c.grants)
	for i, g := range c.grants {
		if g.edge >= end {
			read = i
			break
		}
	}
	if read == len(c.grants) {
		edge := c.grants[read-1].edge
		c.p.find(c.about("window"), "bytes came up to position %d, credit reached to %d: %d too many", end, edge, end-edge)
		return
	}
	if c.p.told(c.about("window")) > 0 {
		return // who does not mind the window may not have read what came with it
	}
	chunk, first := int64(0), c.grants[read]
	for _, g := range c.grants[read:] {
		chunk = max(chunk, g.chunk)
	}
	if n > chunk {
		c.p.find("chunk", "a message of %d bytes came, chunk was %d", n, chunk)
	}
	if first.most > 0 && n > first.most {
		c.p.find("max-append-size", "a message of %d bytes came, max-append-size was %d", n, first.most)
	}
}

// about is the name of the case that a breach of credit belongs to.
func (c *conn) about(rule string) string {
	if strings.HasPrefix(c.p.c.Name, rule) {
		return c.p.c.Name
	}
	return rule
}

func (c *conn) check(m *protocol.Check) {
	c.checks++
	if m.Offset != c.cursor {
		c.p.find("check", "check says offset %d, the cursor stands at %d", m.Offset, c.cursor)
	} else if want := crc(c.p.file[c.start:c.cursor]); m.CRC32C != want {
		c.p.find("check", "check says crc32c %08x, that of the bytes from %d to %d is %08x", m.CRC32C, c.start, c.cursor, want)
	}
}

func (c *conn) ends(m *protocol.Finish) {
	c.finishing, c.up.finish = true, m
	if m.Length != nil && *m.Length != int64(len(c.p.file)) {
		c.p.find("finish", "finish says length %d, the file has %d bytes", *m.Length, len(c.p.file))
	}
	if m.Digest == nil {
		return
	}
	if want := crc(c.p.file); m.Digest.CRC32C != nil && *m.Digest.CRC32C != want {
		c.p.find("digest", "finish says crc32c %08x, that of the file is %08x", *m.Digest.CRC32C, want)
	}
	if want := sha256.Sum256(c.p.file); m.Digest.SHA256 != nil && !bytes.Equal(m.Digest.SHA256, want[:]) {
		c.p.find("digest", "finish says sha-256 %x, that of the file is %x", m.Digest.SHA256, want)
	}
}

func ranges(rs []protocol.Range) string {
	var text []string
	for _, r := range rs {
		text = append(text, fmt.Sprintf("[%d,%d)", r.Start, *r.End))
	}
	return strings.Join(text, " ")
}
