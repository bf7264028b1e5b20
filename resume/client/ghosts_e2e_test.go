package client_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/client"
)

// late is a TCP proxy that breaks its first connection, and lets the server have
// what was sent there once the next one has its ready.
type late struct {
	t     *testing.T
	to    string
	ready chan struct{} // the second connection has it
	over  chan struct{} // and has ended
}

func startLate(t *testing.T, to string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &late{t, to, make(chan struct{}), make(chan struct{})}
	go func() {
		for n := 1; ; n++ {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go p.carry(n, in)
		}
	}()
	return "ws://" + l.Addr().String() + "/upload/"
}

func (p *late) carry(n int, in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer out.Close()
	up, down := bufio.NewReader(in), bufio.NewReader(out)
	header(up, out)
	header(down, in)
	switch n {
	case 1:
		open := some(up)
		in.Close()
		<-p.ready
		out.Write(open)
		<-p.over
	case 2:
		out.Write(some(up))
		in.Write(some(down))
		close(p.ready)
		go io.Copy(io.Discard, up)
		io.Copy(in, down)
		close(p.over)
	default:
		go func() { io.Copy(out, up); out.Close() }()
		io.Copy(in, down)
	}
}

// header passes on the header of a request or of its answer.
func header(from *bufio.Reader, to io.Writer) {
	for {
		line, err := from.ReadString('\n')
		if io.WriteString(to, line); err != nil || line == "\r\n" {
			return
		}
	}
}

// some returns what comes next, a whole open or ready at least.
func some(from io.Reader) []byte {
	b := make([]byte, 4096)
	n, _ := from.Read(b)
	return b[:n]
}

// TestAnOpenThatIsReadLateEndsNoUpload: it was sent on a connection that broke,
// and the server takes it for the newest.
func TestAnOpenThatIsReadLateEndsNoUpload(t *testing.T) {
	s := startServer(t, middleware.Options{})
	data := content(1 << 20)
	r, err := client.Upload(bound(t), startLate(t, s.addr), client.FromReaderAt(bytes.NewReader(data), int64(len(data))), impatient())
	if err != nil || !s.has(data) {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.Reconnects != 2 {
		t.Errorf("%d reconnects, expected one for each connection that ended", r.Reconnects)
	}
}
