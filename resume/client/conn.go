package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// goodbyeTimeout bounds a closing handshake: the library's own may take half a
// minute with a peer that is gone.
const goodbyeTimeout = time.Second

// conn is one WebSocket connection. One goroutine sends on it; another, which
// does nothing else and waits for nobody, reads it.
type conn struct {
	ws   *websocket.Conn
	cork *cork
	raw  net.Conn // nil when the HTTP client did not show it

	wake chan struct{} // poked whenever the reader learned something
	dead chan struct{} // closed once err is set
	gone chan struct{} // closed once the reader has ended

	failOnce sync.Once
	err      error // why the connection is of no more use; read after dead

	heard atomic.Int64 // when something of a message last came in, in Unix nanoseconds
	watch watchdog
}

// serve starts the reader, which gives handle every message. handle must not
// block.
func (c *conn) serve(handle func(protocol.Message)) {
	c.heard.Store(time.Now().UnixNano())
	c.watch.start(c)
	go func() {
		defer close(c.gone)
		c.fail(closed(c.read(handle)))
	}()
}

func (c *conn) read(handle func(protocol.Message)) error {
	var buf []byte
	for {
		// The context never ends: a cancellable one costs an AfterFunc per frame.
		// Who wants the reader to end closes the connection.
		typ, r, err := c.ws.Reader(context.Background())
		if err != nil {
			return err
		}
		if buf, err = c.readAll(buf[:0], r); err != nil {
			return err
		}
		if typ != websocket.MessageText {
			return &finalError{fmt.Errorf("%w: it sent a binary message", ErrProtocol)}
		}
		m, err := protocol.DecodeServer(buf)
		if err != nil {
			return &finalError{fmt.Errorf("%w: %w", ErrProtocol, err)}
		}
		handle(m)
		c.poke()
	}
}

// readAll is io.ReadAll into a buffer that is used again. Each piece counts as
// a sign of life.
func (c *conn) readAll(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		c.heard.Store(time.Now().UnixNano())
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// adopt takes over the server's rhythm.
func (c *conn) adopt(k protocol.Keepalive) {
	c.watch.adopt(time.Duration(k.IntervalMS)*time.Millisecond, time.Duration(k.TimeoutMS)*time.Millisecond)
}

// poke wakes the sender.
func (c *conn) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// fail ends the usefulness of the connection; the first reason stands.
func (c *conn) fail(err error) {
	c.failOnce.Do(func() {
		c.err = err
		close(c.dead)
	})
}

func (c *conn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// send writes a control message; it leaves with the next flush.
func (c *conn) send(m protocol.Message) error {
	return c.write(websocket.MessageText, protocol.Encode(m), false)
}

// write sends one message. Without flush it may stay in the cork until the
// next one fills it or flush is called.
func (c *conn) write(typ websocket.MessageType, p []byte, flush bool) error {
	c.cork.gather()
	err := c.ws.Write(context.Background(), typ, p)
	if e := c.cork.release(flush); err == nil {
		err = e
	}
	return c.failed(err)
}

func (c *conn) flush() error { return c.failed(c.cork.flush()) }

// failed returns the reason the connection died of, if it did: the reader
// mostly knows better than the writer, who just sees a closed socket.
func (c *conn) failed(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-c.dead:
	case <-c.gone:
	case <-time.After(goodbyeTimeout):
		c.fail(err)
	}
	<-c.dead
	return c.err
}

// cut closes the socket and waits for nothing.
func (c *conn) cut() {
	if c.raw != nil {
		c.raw.Close()
		return
	}
	c.cork.Close()
}

// broken reports whether the connection ended without the server saying why:
// then there is nobody to say goodbye to.
func (c *conn) broken() bool {
	if !c.isDead() {
		return false
	}
	var away *goaway
	var server *protocol.Error
	return !errors.As(c.err, &away) && !errors.As(c.err, &server) && !isFinal(c.err)
}

// goodbye closes the connection in a bounded time, and returns when its
// goroutines have ended. A connection that is dead is just closed.
func (c *conn) goodbye(code websocket.StatusCode, reason string) {
	timer := time.AfterFunc(goodbyeTimeout, c.cut)
	if c.broken() {
		c.ws.CloseNow()
	} else {
		c.ws.Close(code, reason)
	}
	timer.Stop()
	c.cut()
	c.watch.stop()
	<-c.gone
	c.fail(net.ErrClosed)
	c.cork.recycle()
}
