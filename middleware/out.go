package middleware

import (
	"context"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// out is the one place from which a connection's messages go out, so that no
// part of a session ever waits for another's write. It has a goroutine only
// while there is something to send.
type out struct {
	ws    *websocket.Conn
	wire  *wire
	clock clock
	// progress returns the ack to send now, nil for none. It is asked whenever
	// poke was called, and after every message.
	progress func() *protocol.Ack

	mu       sync.Mutex
	messages []queued
	poked    bool
	goodbye  *goodbye
	sending  bool
	closed   chan struct{} // closed when nothing will be sent any more
	lastSent time.Duration
}

// queued is a message that waits to be sent, and what is to be done then.
type queued struct {
	protocol.Message
	sent func()
}

// goodbye is how a connection is to be closed behind its last message.
type goodbye struct {
	code   int
	reason string
}

const (
	// writeBound is how long one message may take to be written. The peer does
	// not read at all then: a few messages fit into the smallest socket buffer.
	writeBound = 30 * time.Second
	// goodbyeBound is how long the closing handshake may take. websocket.Close
	// alone would wait longer for a peer that vanished in the middle of a frame
	// (27 s were seen).
	goodbyeBound = 5 * time.Second
)

func newOut(ws *websocket.Conn, wire *wire, clock clock, progress func() *protocol.Ack) *out {
	return &out{ws: ws, wire: wire, clock: clock, progress: progress, closed: make(chan struct{}), lastSent: clock.now()}
}

// send queues m. It never blocks.
func (o *out) send(m protocol.Message) { o.sendThen(m, nil) }

// sendThen queues m, and has sent called once it went out, unless it is nil.
func (o *out) sendThen(m protocol.Message, sent func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.goodbye == nil {
		o.messages = append(o.messages, queued{m, sent})
		o.start()
	}
}

// poke has progress asked for an ack. It never blocks, and may be called from
// anywhere, the store's committer included.
func (o *out) poke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.goodbye == nil && !o.poked {
		o.poked = true
		o.start()
	}
}

// close sends what is queued and m, if it is not nil, then closes the
// connection with code, within goodbyeBound. Only the first call counts.
func (o *out) close(m protocol.Message, code int, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.goodbye != nil {
		return
	}
	if m != nil {
		o.messages = append(o.messages, queued{Message: m})
	}
	o.goodbye = &goodbye{code, truncate(reason, 123)} // RFC 6455, section 5.5: 125 bytes with the code
	o.start()
}

// silentFor returns how long nothing was sent.
func (o *out) silentFor(now time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now - o.lastSent
}

// start has the goroutine run; mu is held.
func (o *out) start() {
	if !o.sending {
		o.sending = true
		go o.run()
	}
}

func (o *out) run() {
	for {
		o.mu.Lock()
		var m queued
		more := false
		switch {
		case len(o.messages) > 0:
			m = o.messages[0]
			o.messages = o.messages[1:]
			more = len(o.messages) > 0
		case o.goodbye != nil:
			o.mu.Unlock()
			o.sayGoodbye()
			return
		case o.poked:
			o.poked = false
			o.mu.Unlock()
			ack := o.progress() // takes the session's lock: not under ours
			o.mu.Lock()
			if ack == nil {
				o.mu.Unlock()
				continue
			}
			m.Message = ack
		default:
			o.sending = false
			o.messages = nil
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		o.wire.hold.Store(more)
		o.write(m.Message)
		if !more {
			o.wire.letGo()
		}
		if m.sent != nil {
			m.sent()
		}
	}
}

// write puts m onto the wire. An error needs no handling: the reader finds the
// connection closed.
func (o *out) write(m protocol.Message) {
	bound := time.AfterFunc(writeBound, o.cut)
	// No cancellable context: one that ends would close the connection, and
	// each costs an AfterFunc.
	o.ws.Write(context.Background(), websocket.MessageText, protocol.Encode(m))
	bound.Stop()
	o.mu.Lock()
	o.lastSent = o.clock.now()
	o.mu.Unlock()
}

func (o *out) sayGoodbye() {
	bound := time.AfterFunc(goodbyeBound, o.cut)
	defer bound.Stop()
	o.ws.Close(websocket.StatusCode(o.goodbye.code), o.goodbye.reason)
	o.cut()
	close(o.closed)
}

// cut ends the connection at once, whatever the library is waiting for.
func (o *out) cut() { o.wire.Close() }

// truncate shortens s to n bytes, not in the middle of a character.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
