package client

import (
	"crypto/rand"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// corkSize holds a message of 256 KiB with its header, so that it leaves in
// one write.
const corkSize = 256<<10 + 4<<10

// cork stands between the WebSocket library and the network.
//
// The library masks what it sends in a buffer of 4 KiB and writes each of
// those to the socket, which costs both ends four times the CPU of one large
// write. The cork gathers them, and small messages that follow each other too.
// It gathers only between gather and release, which is while this side writes
// a message; a control frame of the library's own goes out at once.
//
// It answers pings itself. The library gives a pong five seconds to get
// through and gives up the connection otherwise, while on a slow line a message
// of data may well take that long. Here the pong goes out behind the message
// that is on its way, however long that takes.
//
// It works above TLS, on the body net/http returns with a 101.
type cork struct {
	rwc io.ReadWriteCloser

	writing atomic.Int64           // since when a write to the network is under way, in Unix nanoseconds; 0: none is
	ping    atomic.Pointer[[]byte] // payload of the ping to answer

	mu   sync.Mutex
	open bool   // a message is being written: no other frame may come in between
	buf  []byte // nil once closed for good
}

var corkBuffers = sync.Pool{New: func() any { b := make([]byte, 0, corkSize); return &b }}

func newCork(rwc io.ReadWriteCloser) *cork {
	return &cork{rwc: rwc, buf: *corkBuffers.Get().(*[]byte)}
}

// gather begins to hold back what is written.
func (c *cork) gather() {
	c.mu.Lock()
	c.open = true
	c.mu.Unlock()
}

// release ends what gather began, at the end of a message. With flush it goes
// out now, else with the next message or flush.
func (c *cork) release(flush bool) (err error) {
	c.mu.Lock()
	c.open = false
	if flush {
		err = c.flushLocked()
	}
	c.unlock()
	return err
}

func (c *cork) flush() error {
	c.mu.Lock()
	defer c.unlock()
	return c.flushLocked()
}

// pong answers a ping, now or behind the message being written. It blocks only
// as the network does, and not at all while somebody else is writing.
func (c *cork) pong(payload []byte) {
	p := append([]byte(nil), payload...)
	c.ping.Store(&p)
	if c.mu.TryLock() {
		c.unlock()
	}
}

// unlock answers a ping that came in the meantime. Whoever fails to get the
// lock leaves the answer to the one who holds it: hence the second look.
func (c *cork) unlock() {
	for {
		if p := c.ping.Load(); p != nil && !c.open && c.ping.CompareAndSwap(p, nil) {
			c.appendPong(*p)
			c.flushLocked() // an error shows in the next write
		}
		open := c.open
		c.mu.Unlock()
		if open || c.ping.Load() == nil || !c.mu.TryLock() {
			return
		}
	}
}

// appendPong adds a pong as RFC 6455, section 5.2, has it for a client.
func (c *cork) appendPong(payload []byte) {
	if c.buf == nil {
		return
	}
	var key [4]byte
	rand.Read(key[:])
	frame := append(c.buf, 0x80|0xA, 0x80|byte(len(payload)))
	frame = append(frame, key[:]...)
	for i, b := range payload {
		frame = append(frame, b^key[i%4])
	}
	c.buf = frame
}

func (c *cork) flushLocked() error {
	if len(c.buf) == 0 {
		return nil
	}
	c.writing.Store(time.Now().UnixNano())
	_, err := c.rwc.Write(c.buf)
	c.writing.Store(0)
	c.buf = c.buf[:0]
	return err
}

func (c *cork) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.unlock()
	if c.buf == nil {
		return 0, net.ErrClosed
	}
	for n < len(p) {
		if len(c.buf) >= corkSize {
			if err := c.flushLocked(); err != nil {
				return n, err
			}
		}
		room := min(corkSize-len(c.buf), len(p)-n)
		c.buf = append(c.buf, p[n:n+room]...)
		n += room
	}
	if c.open {
		return n, nil
	}
	return n, c.flushLocked()
}

func (c *cork) Read(p []byte) (int, error) { return c.rwc.Read(p) }

func (c *cork) Close() error { return c.rwc.Close() }

// recycle gives the buffer back. What is written afterwards fails.
func (c *cork) recycle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf != nil {
		b := c.buf[:0]
		c.buf = nil
		corkBuffers.Put(&b)
	}
}
