package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// Opcodes and bits of RFC 6455, section 5.2.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
	final    = 0x80
	masked   = 0x80
)

// wsClient is the cheapest client there can be: the masking key is 0, which
// leaves the bytes as they are, and a message is one write of memory that has
// its header in front of it already. Servers unmask it all the same.
type wsClient struct {
	net.Conn
	in       *bufio.Reader
	messages chan []byte // text messages of the server

	mu sync.Mutex // a pong must not come into the middle of a message
}

// whole is a chunk of payload behind its header.
var whole = append(header(opBinary, chunk), payload[:chunk]...)

// dialWS shakes hands (RFC 6455, section 4.1). The key need not be random for
// a server on this machine.
func dialWS(addr, path, subprotocol string, security *tls.Config) (*wsClient, error) {
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if security != nil {
		conn = tls.Client(conn, security)
	}
	c := &wsClient{Conn: conn, in: bufio.NewReader(conn), messages: make(chan []byte, 64)}
	if subprotocol != "" {
		subprotocol = "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, addr, subprotocol)
	resp, err := http.ReadResponse(c.in, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the upgrade was answered with %s", resp.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go c.read()
	return c, nil
}

// header makes that of a whole message, with a masking key of 0.
func header(op byte, size int) []byte {
	h := []byte{final | op}
	switch {
	case size < 126:
		h = append(h, masked|byte(size))
	case size < 1<<16:
		h = binary.BigEndian.AppendUint16(append(h, masked|126), uint16(size))
	default:
		h = binary.BigEndian.AppendUint64(append(h, masked|127), uint64(size))
	}
	return append(h, 0, 0, 0, 0)
}

// data sends a binary message of at most a chunk.
func (c *wsClient) data(size int64) error {
	if size < chunk {
		return c.frame(opBinary, payload[:size])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Write(whole)
	return err
}

func (c *wsClient) frame(op byte, p []byte) error { return c.put(frameOf(nil, op, p)) }

// frameOf appends the frame of a whole message to b.
func frameOf(b []byte, op byte, p []byte) []byte {
	return append(append(b, header(op, len(p))...), p...)
}

// put sends whole frames.
func (c *wsClient) put(frames []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Write(frames)
	return err
}

// read takes the server's frames, which are not masked and not cut into pieces.
func (c *wsClient) read() {
	defer close(c.messages)
	for {
		var h [2]byte
		if _, err := io.ReadFull(c.in, h[:]); err != nil {
			return
		}
		size := uint64(h[1])
		var long [8]byte
		switch size {
		case 126:
			io.ReadFull(c.in, long[6:])
			size = binary.BigEndian.Uint64(long[:])
		case 127:
			io.ReadFull(c.in, long[:])
			size = binary.BigEndian.Uint64(long[:])
		}
		p := make([]byte, min(size, 1<<20))
		if _, err := io.ReadFull(c.in, p); err != nil {
			return
		}
		switch h[0] &^ final {
		case opText:
			c.messages <- p
		case opPing:
			c.frame(opPong, p)
		case opClose:
			return
		}
	}
}

// next returns the server's next message.
func (c *wsClient) next() ([]byte, error) {
	if p, ok := <-c.messages; ok {
		return p, nil
	}
	return nil, io.ErrUnexpectedEOF
}
