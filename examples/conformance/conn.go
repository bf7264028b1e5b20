package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// What a server of a case grants and promises, unless the case has it otherwise.
const (
	usualWindow   = 256 << 10
	usualChunk    = 64 << 10
	usualInterval = 5 * time.Second
)

// sceneWithin bounds how long a scene waits for the client to do its part.
const sceneWithin = 15 * time.Second

// conn is one connection of the client under test, as the script of a case sees
// it. The script is the only one to use it, and holds the play's lock but while
// it waits for the client.
type conn struct {
	p       *play
	n       int // from 1, in the order of arrival
	w       *wire
	browser bool // a page: what it cannot see or say is not asked of it

	began   time.Time
	parted  time.Time // when the server ended it, or announced the end, or saw it end
	over    time.Time // when the client was seen to have ended it, too
	closing bool      // a close was sent
	dead    bool      // nothing more comes
	broke   bool      // the script broke it, without a word of when to come back
	leaves  bool      // the script ended it, and said when to come back

	// How the server behaves; scripts change it.
	window, chunk int64
	limits        protocol.Limits
	interval      time.Duration
	beat          time.Duration // between heartbeats; 0: half the interval
	lag           int64         // bytes by which what is durable trails what was received
	byHand        bool          // acks are the script's business
	mute          bool          // no word by itself, no heartbeat either
	dress         func([]byte) []byte
	pieces        int // frames of a text message; 0: one

	// What the client said.
	up         *upload
	asked      bool // an open that was not answered
	eager      bool
	readied    bool
	finishing  bool // a finish that was not answered
	cancelling bool
	messages   int
	opened     []string // ids
	start      int64
	cursor     int64
	grants     []grant
	pongs      []string
	checks     int
	code       int // of the client's close; 0: none came

	partial []byte // of a message in several frames
	kind    byte
	said    time.Time
	last    protocol.Ack
}

func newConn(p *play, w *wire, r *http.Request) *conn {
	return &conn{p: p, n: len(p.conns) + 1, w: w, browser: r.Header.Get("Origin") != "", began: time.Now(), said: time.Now(),
		window: usualWindow, chunk: usualChunk, interval: usualInterval}
}

// step takes in the next frame of the client, or lets the heart beat. It is
// false when the connection is over.
func (c *conn) step(until <-chan time.Time) bool {
	if c.dead {
		return false
	}
	var beat <-chan time.Time
	if !c.mute {
		timer := time.NewTimer(time.Until(c.said.Add(c.rhythm())))
		defer timer.Stop()
		beat = timer.C
	}
	var f frame
	came, beating, alive := false, false, true
	c.p.mu.Unlock()
	select {
	case f, alive = <-c.w.frames:
		came = alive
	case <-beat:
		beating = true
	case <-until:
	case <-c.p.over:
		alive = false
	}
	c.p.mu.Lock()
	switch {
	case came:
		alive = c.take(f)
	case beating:
		c.heartbeat()
	}
	if !alive {
		c.ended()
	}
	return alive
}

func (c *conn) rhythm() time.Duration {
	if c.beat != 0 {
		return c.beat
	}
	return c.interval / 2
}

func (c *conn) ended() {
	if c.parted.IsZero() {
		c.parted = time.Now()
	}
	if c.w.wrong != nil {
		c.p.find("frames", "%v", c.w.wrong)
	}
	c.dead, c.over = true, time.Now()
	c.w.close()
	c.p.note(c, "the connection is over")
}

// await lets the client act until cond holds, and reports whether it does. It
// gives up at the end of the connection, and after limit; 0: sceneWithin.
func (c *conn) await(limit time.Duration, cond func() bool) bool {
	if limit == 0 {
		limit = sceneWithin
	}
	deadline := time.Now().Add(limit)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !cond() {
		if !c.step(timer.C) || time.Now().After(deadline) {
			return cond()
		}
	}
	return true
}

// stay lets the client act for a time. It is false when the connection ended.
func (c *conn) stay(d time.Duration) bool {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(left)
		ok := c.step(timer.C)
		timer.Stop()
		if !ok {
			return false
		}
	}
}

// drain lets the client act to the end of the connection.
func (c *conn) drain() {
	for c.step(nil) {
	}
}

// send says m to the client.
func (c *conn) send(m protocol.Message) {
	p := protocol.Encode(m)
	if c.dress != nil {
		p = c.dress(p)
	}
	c.say(p)
}

// say sends a text message as it is, in as many frames as c.pieces.
func (c *conn) say(p []byte) {
	c.said = time.Now()
	c.p.note(c, "server: %s", excerpt(p))
	op, size := byte(opText), len(p)/max(c.pieces, 1)+1
	for len(p) > size {
		c.write(frame{op: op, payload: p[:size]})
		c.write(frame{fin: true, op: opPing, payload: []byte("in between")})
		p, op = p[size:], opContinuation
	}
	c.write(frame{fin: true, op: op, payload: p})
}

func (c *conn) write(f frame) {
	if err := c.w.write(f); err != nil {
		c.p.note(c, "server could not write: %v", err)
		if isTimeout(err) {
			c.p.find("reads-while-sending", "the client took in nothing for %v while it was sending", writeWithin)
		}
		c.w.cut()
	}
}

func (c *conn) ping(payload string) {
	c.p.note(c, "server: ping %q", payload)
	c.write(frame{fin: true, op: opPing, payload: []byte(payload)})
}

// ponged reports whether the client answered a ping.
func (c *conn) ponged(payload string) bool { return slices.Contains(c.pongs, payload) }

// cut breaks the connection without a word.
func (c *conn) cut() {
	c.parted = time.Now()
	c.p.note(c, "server cuts the connection")
	c.w.cut()
}

// close ends the connection in order, with a code.
func (c *conn) close(code int, reason string) {
	if c.parted.IsZero() {
		c.parted = time.Now()
	}
	c.p.note(c, "server closes with %d", code)
	c.mute, c.closing = true, true
	c.write(frame{fin: true, op: opClose, payload: append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)})
	// What the client is still sending has to be read: a socket closed before
	// that would take the server's last words back.
	c.stay(2 * time.Second)
	c.w.close()
}

// fail says an error and closes as the protocol has it.
func (c *conn) fail(e *protocol.Error) {
	if c.up != nil && e.ID == "" {
		e.ID = c.up.id
	}
	c.parted = time.Now()
	c.asked, c.finishing = false, false
	c.send(e)
	if e.EndsConnection() {
		c.close(e.Code.CloseCode(), string(e.Code))
	}
}

// closedWith says what the client closed with.
func closedWith(code int) string {
	if code == 0 {
		return "no close"
	}
	return fmt.Sprintf("a close with %d", code)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func excerpt(p []byte) string {
	const most = 400
	if len(p) > most {
		return fmt.Sprintf("%s... (%d bytes)", p[:most], len(p))
	}
	return string(p)
}
