package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// The opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// writeWithin bounds a write: a client that does not read for so long is stuck.
const writeWithin = 3 * time.Second

// frame is a WebSocket frame, its payload unmasked.
type frame struct {
	fin     bool
	op      byte
	payload []byte
}

// wire is a WebSocket as a server has it, frame by frame. No library: the cases
// break off in the middle of a message, split messages, leave things out, and
// want to see every ping.
type wire struct {
	net    net.Conn
	r      *bufio.Reader
	frames chan frame // closed at the end of the socket
	dead   chan struct{}
	die    sync.Once

	taken atomic.Int64 // payload bytes of binary messages that came in
	cutAt atomic.Int64 // taken at which the socket is cut, if more than 0
	wrong error        // in the client's framing; read after frames was closed
}

// upgrade answers a handshake, with the subprotocol or, to see what the client
// makes of it, without.
func upgrade(w http.ResponseWriter, r *http.Request, subprotocol bool) (*wire, error) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		http.Error(w, "this is the address of an upload: a WebSocket is expected here", http.StatusUpgradeRequired)
		return nil, errors.New("no WebSocket handshake")
	}
	hijacked, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if subprotocol {
		answer += "Sec-WebSocket-Protocol: " + protocol.Subprotocol + "\r\n"
	}
	hijacked.SetDeadline(time.Time{})
	if _, err := io.WriteString(hijacked, answer+"\r\n"); err != nil {
		hijacked.Close()
		return nil, err
	}
	c := &wire{net: hijacked, r: buffered.Reader, frames: make(chan frame), dead: make(chan struct{})}
	go c.read()
	return c, nil
}

func (w *wire) read() {
	defer close(w.frames)
	for {
		f, err := w.readFrame()
		if err != nil {
			return
		}
		select {
		case w.frames <- f:
		case <-w.dead:
			return
		}
	}
}

func (w *wire) readFrame() (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{fin: head[0]&0x80 != 0, op: head[0] & 0x0f}
	size, err := w.readSize(head[1] & 0x7f)
	switch {
	case err != nil:
		return f, err
	case head[0]&0x70 != 0:
		return f, w.refuse("a frame has a reserved bit set, although no extension was negotiated")
	case head[1]&0x80 == 0:
		return f, w.refuse("a frame is not masked (RFC 6455, section 5.1)")
	case f.op >= opClose && (!f.fin || size > 125):
		return f, w.refuse("a control frame is fragmented, or has more than 125 bytes (RFC 6455, section 5.5)")
	case size > 1<<30:
		return f, w.refuse("a frame of %d bytes", size)
	}
	var mask [4]byte
	if _, err := io.ReadFull(w.r, mask[:]); err != nil {
		return f, err
	}
	if f.payload, err = w.readPayload(size, f.op == opBinary || f.op == opContinuation); err != nil {
		return f, err
	}
	for i := range f.payload {
		f.payload[i] ^= mask[i&3]
	}
	return f, nil
}

func (w *wire) readSize(short byte) (uint64, error) {
	var b [8]byte
	switch short {
	case 126:
		_, err := io.ReadFull(w.r, b[6:])
		return binary.BigEndian.Uint64(b[:]), err
	case 127:
		_, err := io.ReadFull(w.r, b[:])
		return binary.BigEndian.Uint64(b[:]), err
	}
	return uint64(short), nil
}

// readPayload cuts the socket in the middle where a case wants that.
func (w *wire) readPayload(size uint64, counts bool) ([]byte, error) {
	p := make([]byte, size)
	if !counts {
		_, err := io.ReadFull(w.r, p)
		return p, err
	}
	end := w.taken.Load() + int64(size)
	if at := w.cutAt.Load(); at > 0 && end >= at {
		io.ReadFull(w.r, p[:int64(size)-(end-at)])
		w.cut()
		return nil, net.ErrClosed
	}
	_, err := io.ReadFull(w.r, p)
	w.taken.Store(end)
	return p, err
}

func (w *wire) refuse(format string, args ...any) error {
	w.wrong = fmt.Errorf(format, args...)
	return w.wrong
}

// write sends one frame; servers do not mask.
func (w *wire) write(f frame) error {
	head := []byte{f.op, 0}
	if f.fin {
		head[0] |= 0x80
	}
	switch n := len(f.payload); {
	case n < 126:
		head[1] = byte(n)
	case n < 1<<16:
		head[1] = 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	default:
		head[1] = 127
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	w.net.SetWriteDeadline(time.Now().Add(writeWithin))
	_, err := w.net.Write(append(head, f.payload...))
	return err
}

// cut ends the socket as a network that breaks: without a word.
func (w *wire) cut() {
	if tcp, ok := w.net.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	w.close()
}

func (w *wire) close() {
	w.die.Do(func() { close(w.dead) })
	w.net.Close()
}
