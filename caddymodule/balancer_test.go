package caddymodule_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// balancer passes connections on to the servers in turn, as they come. It reads
// along what the servers say, to know how much is sent again after a cut.
type balancer struct {
	addr string // with the name of the site

	next atomic.Uint32

	mu    sync.Mutex
	last  map[string]*sending // of each upload, the latest connection
	again []sentAgain
}

// sending is a connection on which an upload is sent.
type sending struct {
	cursor int64        // where it began
	sent   atomic.Int64 // bytes since
	window atomic.Int64 // the largest one granted; 0 to a plain client
}

// sentAgain is how much of what a connection had carried another one carried
// once more.
type sentAgain struct {
	upload string
	bytes  int64
	window int64
}

func balance(t *testing.T, servers ...string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	b := &balancer{addr: "localhost:" + port, last: map[string]*sending{}}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		l.Close()
		cancel()
		all.Wait()
	})
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer in.Close()
				first := b.next.Add(1)
				for i := range servers {
					server := servers[(int(first)+i)%len(servers)]
					out, err := net.Dial("tcp", server)
					if err != nil {
						continue
					}
					b.splice(ctx, in, out)
					return
				}
			})
		}
	})
	return b
}

func (b *balancer) splice(ctx context.Context, client, server net.Conn) {
	end := func() {
		client.Close()
		server.Close()
	}
	defer context.AfterFunc(ctx, end)()
	up := new(sending)
	var both sync.WaitGroup
	both.Go(func() {
		defer end()
		io.Copy(io.MultiWriter(server, counter{&up.sent}), client)
	})
	both.Go(func() {
		defer end()
		b.listen(up, client, bufio.NewReader(server))
	})
	both.Wait()
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// listen passes on what a server says.
func (b *balancer) listen(up *sending, client io.Writer, server *bufio.Reader) {
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = server.ReadString('\n'); err != nil {
			return
		}
		if _, err := io.WriteString(client, line); err != nil {
			return
		}
		if strings.HasPrefix(line, "HTTP/1.1 ") && !strings.HasPrefix(line, "HTTP/1.1 101") {
			io.Copy(client, server)
			return
		}
	}
	for {
		head, text, err := frame(server)
		if err != nil {
			return
		}
		if head[0]&15 == 1 {
			b.hear(up, text)
		}
		if _, err := client.Write(append(head, text...)); err != nil {
			return
		}
	}
}

// frame reads one of a server, which masks nothing.
func frame(r *bufio.Reader) (head, body []byte, err error) {
	head = make([]byte, 2, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	n := uint64(head[1])
	if wide := map[uint64]int{126: 2, 127: 8}[n]; wide > 0 {
		head = head[:2+wide]
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, nil, err
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-wide), head[2:]...))
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return head, body, err
}

// hear takes from a message what it says of where the upload stands.
func (b *balancer) hear(up *sending, text []byte) {
	var m struct {
		Type, ID       string
		Cursor, Window int64
	}
	if json.Unmarshal(text, &m) != nil {
		return
	}
	up.window.Store(max(up.window.Load(), m.Window))
	if m.Type != "ready" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if before := b.last[m.ID]; before != nil {
		b.again = append(b.again, sentAgain{m.ID, before.cursor + before.sent.Load() - m.Cursor, before.window.Load()})
	}
	up.cursor = m.Cursor
	b.last[m.ID] = up
}

// resent returns what was sent again, after each cut.
func (b *balancer) resent() []sentAgain {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]sentAgain(nil), b.again...)
}
