// Package protocoltest is a client by hand for the tests of a server: it says
// what a test has it say, and nothing by itself.
package protocoltest

import (
	"context"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// patience bounds every wait: no answer takes so long.
const patience = 30 * time.Second

// Peer is one connection. What goes wrong on it ends the test.
type Peer struct {
	T  testing.TB
	WS *websocket.Conn
	// Durable is the offset of the latest ack.
	Durable int64
}

// New returns the peer behind a connection, which ends with the test.
func New(t testing.TB, ws *websocket.Conn) *Peer {
	ws.SetReadLimit(protocol.MaxMessageSize)
	t.Cleanup(func() { ws.CloseNow() })
	return &Peer{T: t, WS: ws}
}

// Send sends a message.
func (p *Peer) Send(m protocol.Message) {
	p.T.Helper()
	p.Text(string(protocol.Encode(m)))
}

// Text sends a text message, whatever it is.
func (p *Peer) Text(s string) {
	p.T.Helper()
	if err := p.write(websocket.MessageText, []byte(s)); err != nil {
		p.T.Fatalf("send %.60s: %v", s, err)
	}
}

// Data sends file data as one binary message.
func (p *Peer) Data(b []byte) {
	p.T.Helper()
	if err := p.write(websocket.MessageBinary, b); err != nil {
		p.T.Fatalf("send %d bytes: %v", len(b), err)
	}
}

func (p *Peer) write(kind websocket.MessageType, b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.WS.Write(ctx, kind, b)
}

// Recv returns the next message, or the error with which the connection ended.
func (p *Peer) Recv() (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, b, err := p.WS.Read(ctx)
	if err != nil {
		return nil, err
	}
	m, err := protocol.DecodeServer(b)
	if err != nil {
		p.T.Fatalf("the server said what nobody understands: %v", err)
	}
	if a, ok := m.(*protocol.Ack); ok {
		p.Durable = a.Offset
	}
	return m, nil
}

// Next returns the next message of type T, passing over acks.
func Next[T protocol.Message](p *Peer) T {
	p.T.Helper()
	for {
		m, err := p.Recv()
		if err != nil {
			p.T.Fatalf("waiting for a %T: %v", *new(T), err)
		}
		if want, ok := m.(T); ok {
			return want
		}
		if _, ok := m.(*protocol.Ack); !ok {
			p.T.Fatalf("got %s, expected a %T", protocol.Encode(m), *new(T))
		}
	}
}

// Closed returns the connection's close code. Nothing but acks may come before.
func (p *Peer) Closed() websocket.StatusCode {
	p.T.Helper()
	for {
		if m, err := p.Recv(); err != nil {
			return websocket.CloseStatus(err)
		} else if _, ok := m.(*protocol.Ack); !ok {
			p.T.Fatalf("got %s, expected the end of the connection", protocol.Encode(m))
		}
	}
}

// Acked waits until the server says that everything up to off is durable.
func (p *Peer) Acked(off int64) {
	p.T.Helper()
	for Next[*protocol.Ack](p).Offset < off {
	}
}

// Stream sends data, which begins at ready's cursor, in messages of chunk bytes
// at most, and obeys the window.
func (p *Peer) Stream(ready *protocol.Ready, data []byte, chunk int) {
	p.T.Helper()
	sent, received, window := ready.Cursor, ready.Cursor, ready.Window
	end := ready.Cursor + int64(len(data))
	for sent < end {
		n := min(int64(chunk), end-sent)
		for sent+n-received > window {
			ack := Next[*protocol.Ack](p)
			received, window = ack.Received, ack.Window
			n = min(n, window)
		}
		p.Data(data[sent-ready.Cursor:][:n])
		sent += n
	}
}
