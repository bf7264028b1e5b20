package middleware_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// BenchmarkUpload is the way of a byte from a frame on a socket into a file, by
// the size of the messages. An operation is an upload of 256 MiB, which is
// cancelled when all of it is durable. allocs/chunk divides all allocations of
// the process by the messages: those for opening, for acks on both ends and
// for committing are in it. It falls as messages get smaller, an upload making
// about as many in all: so a message itself makes none.
func BenchmarkUpload(b *testing.B) {
	for _, chunk := range []int{16 << 10, 64 << 10, protocol.InitialWindow} {
		b.Run(fmt.Sprintf("%dKiB", chunk>>10), func(b *testing.B) {
			const size = 256 << 20
			u := newFrameSender(b, chunk)
			u.upload(size) // buffers are made
			b.SetBytes(size)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				u.upload(size)
			}
			runtime.ReadMemStats(&after)
			chunks := float64(b.N) * float64(size/chunk)
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/chunks, "allocs/chunk")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/chunks, "B/chunk")
		})
	}
}

// frameSender writes the same frame over and over, which costs nothing.
type frameSender struct {
	b     *testing.B
	conn  net.Conn
	br    *bufio.Reader
	frame []byte
	chunk int64
	id    resume.ID
}

func newFrameSender(b *testing.B, chunk int) *frameSender {
	r := newRig(b, rigOptions{Options: middleware.Options{Logger: zap.NewNop()}})
	u := &frameSender{b: b, chunk: int64(chunk)}
	u.conn = r.tcp("/upload/x", map[string]string{"Sec-WebSocket-Protocol": protocol.Subprotocol})
	u.br = bufio.NewReader(u.conn)
	if resp, err := http.ReadResponse(u.br, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatal(resp, err)
	}
	u.frame = binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, uint64(chunk))
	u.frame = append(u.frame, make([]byte, 4+chunk)...) // the masking key is 0
	return u
}

func (u *frameSender) upload(size int64) {
	u.id = resume.NewID()
	writeText(u.conn, fmt.Sprintf(`{"type":"open","id":"%s","length":%d}`, u.id, size))
	var edge int64
	for sent := int64(0); sent < size; sent += u.chunk {
		for edge < sent+u.chunk {
			edge, _ = u.next()
		}
		if _, err := u.conn.Write(u.frame); err != nil {
			u.b.Fatal(err)
		}
	}
	for durable := int64(0); durable < size; {
		_, durable = u.next()
	}
	writeText(u.conn, `{"type":"cancel"}`)
	for durable := int64(0); durable >= 0; {
		_, durable = u.next()
	}
}

// next reads a message about the upload at hand: how far it may be sent, and
// how far it is durable. -1: it is cancelled.
func (u *frameSender) next() (edge, durable int64) {
	const text = 1
	for {
		op, p, err := readFrame(u.br)
		if err != nil {
			u.b.Fatal(err)
		}
		if op != text {
			continue
		}
		m, err := protocol.DecodeServer(p)
		if err != nil {
			u.b.Fatal(err)
		}
		switch m := m.(type) {
		case *protocol.Ready:
			return m.Cursor + m.Window, m.Offset
		case *protocol.Ack:
			if m.ID == string(u.id) {
				return m.Received + m.Window, m.Offset
			}
		case *protocol.Done:
			return 0, -1
		case *protocol.Error:
			u.b.Fatal(m)
		}
	}
}
