package situations

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// link is a TCP proxy that makes the line between a client and a server bad in
// one way. It handles bytes and knows nothing of WebSocket.
type link struct {
	rate int64 // bytes a second, each way; 0: as fast as it goes
	// What happens on the first connection once so many bytes went from the
	// client to the server; 0: nothing.
	holeAt    int64 // nothing goes through any more either way, and nothing is closed
	foreignAt int64 // eight foreign bytes go to the server, then both ends are closed

	hole chan time.Time // receives when the last bytes before the hole went to the server

	server string
	ln     net.Listener
	wg     sync.WaitGroup
	stop   chan struct{}
}

// foreign is what Caddy's reverse_proxy was seen to write into the middle of a
// frame when its configuration was reloaded: its own close frame, 1001, masked.
var foreign = []byte{0x88, 0x82, 0x11, 0x22, 0x33, 0x44, 0x12, 0xcb}

// smallBuffer keeps what waits in the proxy's own sockets short.
const smallBuffer = 16 << 10

// connect puts the link in front of a server and returns its address.
func (l *link) connect(t testing.TB, server string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.server, l.ln, l.stop, l.hole = server, ln, make(chan struct{}), make(chan time.Time, 1)
	l.wg.Go(l.accept)
	t.Cleanup(l.close)
	return ln.Addr().String()
}

func (l *link) close() {
	close(l.stop)
	l.ln.Close()
	l.wg.Wait()
}

func (l *link) accept() {
	for first := true; ; first = false {
		client, err := l.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.server)
		if err != nil {
			client.Close()
			continue
		}
		if l.rate > 0 {
			for _, c := range []net.Conn{client, server} {
				c.(*net.TCPConn).SetReadBuffer(smallBuffer)
				c.(*net.TCPConn).SetWriteBuffer(smallBuffer)
			}
		}
		l.wg.Go(func() { l.carry(client, server, first) })
	}
}

// carry moves bytes both ways until one end closes, or the link does.
func (l *link) carry(client, server net.Conn, first bool) {
	p := &path{link: l, holed: make(chan struct{})}
	if first {
		p.holeAt, p.foreignAt = l.holeAt, l.foreignAt
	}
	done := make(chan struct{}, 2)
	go func() { p.pump(server, client, p.up); done <- struct{}{} }()
	go func() { p.pump(client, server, nil); done <- struct{}{} }()
	closed := 0
	select {
	case <-done:
		closed++
	case <-l.stop:
	}
	client.Close()
	if p.spoiled.Load() {
		// Let the server read the foreign bytes: closing at once would reset the
		// connection under them.
		server.SetReadDeadline(time.Now().Add(5 * time.Second))
		<-done
		closed++
	}
	server.Close()
	for ; closed < 2; closed++ {
		<-done
	}
}

// path is one connection through the link.
type path struct {
	*link
	holeAt, foreignAt int64
	sent              int64     // from the client to the server
	wrote             time.Time // when the last of them began to
	holed             chan struct{}
	spoiled           atomic.Bool // the foreign bytes are out
}

// packet is what the link carries at a time: the 1400 bytes of many paths.
const packet = 1400

// pump copies at the link's rate. tamper sees each packet first, and returns
// false to end the connection.
func (p *path) pump(to io.Writer, from io.Reader, tamper func(to io.Writer, b []byte) bool) {
	buf := make([]byte, 64<<10)
	if p.rate > 0 {
		buf = buf[:packet]
	}
	for next := time.Now(); ; {
		n, err := from.Read(buf)
		if n > 0 && p.rate > 0 {
			next = later(next, time.Now()).Add(time.Duration(n) * time.Second / time.Duration(p.rate))
			time.Sleep(time.Until(next))
		}
		select {
		case <-p.holed:
			<-p.stop
			return
		default:
		}
		if tamper != nil {
			if !tamper(to, buf[:n]) {
				return
			}
			p.wrote = time.Now()
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil && !p.spoiled.Load() {
			return
		}
	}
}

// up does to the client's bytes what the link is there for.
func (p *path) up(to io.Writer, b []byte) bool {
	switch p.sent += int64(len(b)); {
	case p.holeAt > 0 && p.sent >= p.holeAt:
		close(p.holed)
		p.hole <- p.wrote
		<-p.stop
		return false
	case p.foreignAt > 0 && p.sent >= p.foreignAt:
		to.Write(b[:int64(len(b))-(p.sent-p.foreignAt)])
		to.Write(foreign)
		p.spoiled.Store(true)
		to.(*net.TCPConn).CloseWrite()
		return false
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
