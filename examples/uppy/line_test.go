package uppy

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// line is the way from the browser to the server: as slow as a test wants it to
// be, and it can go down.
type line struct {
	listener net.Listener
	target   string
	rate     atomic.Int64 // bytes a second towards the server on each connection; 0: as fast as it goes
	sent     atomic.Int64 // bytes towards the server
	dead     atomic.Bool

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{listener: listener, target: target, open: map[net.Conn]bool{}}
	t.Cleanup(func() { listener.Close(); l.cut() })
	go l.accept()
	return l
}

func (l *line) url() string { return "http://" + l.listener.Addr().String() + "/" }

func (l *line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.target)
		if err != nil || l.dead.Load() {
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		// Little on the way, so that what was sent is soon what was received.
		client.(*net.TCPConn).SetReadBuffer(64 << 10)
		l.mu.Lock()
		l.open[client], l.open[server] = true, true
		l.mu.Unlock()
		go l.pass(server, client, &l.rate, &l.sent)
		go l.pass(client, server, new(atomic.Int64), new(atomic.Int64))
	}
}

func (l *line) pass(to, from net.Conn, rate, sent *atomic.Int64) {
	defer l.close(to)
	defer l.close(from)
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if r := rate.Load(); n > 0 && r > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(r))
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			sent.Add(int64(n))
		}
		if err != nil {
			return
		}
	}
}

func (l *line) close(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.Close()
	}
}

// down breaks every connection, and those to come, until up.
func (l *line) down() { l.dead.Store(true); l.cut() }

func (l *line) up() { l.dead.Store(false) }
