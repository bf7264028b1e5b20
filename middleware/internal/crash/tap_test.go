package crash

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// tap stands between client and server, passes bytes on, and reads along. It
// can cut connections after a number of bytes.
type tap struct {
	listener net.Listener
	target   atomic.Pointer[string]
	ledger   *ledger
	// cutAfter returns after how many bytes of the client a new connection is
	// cut; negative: never.
	cutAfter func() int64
	cuts     atomic.Int64
	conns    sync.WaitGroup
}

func newTap(l *ledger, target string, cutAfter func() int64) (*tap, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{listener: listener, ledger: l, cutAfter: cutAfter}
	t.target.Store(&target)
	t.conns.Go(t.accept)
	return t, nil
}

func (t *tap) close() {
	t.listener.Close()
	t.conns.Wait()
}

func (t *tap) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", *t.target.Load())
		if err != nil {
			c.Close() // the server is down just now
			continue
		}
		line := &line{l: t.ledger}
		left := t.cutAfter()
		t.conns.Go(func() {
			relay(s, c, left, &frames{message: line.client}, func() { t.cuts.Add(1) })
			c.Close()
			s.Close()
		})
		t.conns.Go(func() {
			relay(c, s, -1, &frames{message: func(text bool, p []byte) {
				if text {
					line.server(p)
				}
			}}, nil)
			c.Close()
			s.Close()
		})
	}
}

// relay copies from src to dst until one of them ends, or left bytes went by.
func relay(dst, src net.Conn, left int64, f *frames, cut func()) {
	buf := make([]byte, 64<<10)
	for left != 0 {
		n, err := src.Read(buf)
		if left > 0 && int64(n) >= left {
			n, left = int(left), 0
			cut()
		} else if left > 0 {
			left -= int64(n)
		}
		f.Write(buf[:n]) // before it is passed on: the answer must not be seen first
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// frames reads WebSocket frames out of a stream of bytes that begins with an
// HTTP header, and calls message for each whole data message.
type frames struct {
	message func(text bool, payload []byte)
	buf     []byte
	upgrade bool // the HTTP header is over
	text    bool
	body    []byte
}

func (f *frames) Write(p []byte) (int, error) {
	f.buf = append(f.buf, p...)
	if !f.upgrade {
		_, rest, ok := bytes.Cut(f.buf, []byte("\r\n\r\n"))
		if !ok {
			return len(p), nil
		}
		f.upgrade, f.buf = true, append([]byte(nil), rest...)
	}
	for f.next() {
	}
	return len(p), nil
}

// next takes one frame out of buf, if it is there as a whole (RFC 6455,
// section 5.2).
func (f *frames) next() bool {
	r := bytes.NewReader(f.buf)
	var h [2]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return false
	}
	n := uint64(h[1] & 127)
	size := map[uint64]int{126: 2, 127: 8}[n]
	if size > 0 {
		var b [8]byte
		if _, err := io.ReadFull(r, b[8-size:]); err != nil {
			return false
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	var mask [4]byte
	if h[1]&128 != 0 {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return false
		}
	}
	if uint64(r.Len()) < n {
		return false
	}
	payload := f.buf[len(f.buf)-r.Len():][:n]
	f.take(h[0], payload, mask)
	f.buf = f.buf[len(f.buf)-r.Len()+int(n):]
	return true
}

func (f *frames) take(head byte, payload []byte, mask [4]byte) {
	opcode := head & 15
	if opcode >= 8 {
		return
	}
	for i, b := range payload {
		f.body = append(f.body, b^mask[i&3])
	}
	if opcode != 0 {
		f.text = opcode == 1
	}
	if head&128 != 0 {
		f.message(f.text, f.body)
		f.body = f.body[:0]
	}
}
