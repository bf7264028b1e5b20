package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// valve is the line between a browser and the server: as slow as the test
// wants it to be, and it can break, or fall silent.
type valve struct {
	listener net.Listener
	target   string
	rate     atomic.Int64 // bytes a second towards the server; 0: as fast as it goes
	away     atomic.Bool

	mu    sync.Mutex
	lines []*line
}

type line struct {
	client, server net.Conn
	frozen         atomic.Bool
}

func newValve(t *testing.T, target string) *valve {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{listener: l, target: target}
	t.Cleanup(func() { l.Close(); v.cut() })
	go v.accept()
	return v
}

func (v *valve) url() string { return "http://" + v.listener.Addr().String() + "/" }

func (v *valve) accept() {
	for {
		client, err := v.listener.Accept()
		if err != nil {
			return
		}
		if v.away.Load() {
			client.Close()
			continue
		}
		v.mu.Lock()
		target := v.target
		v.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		l := &line{client: client, server: server}
		v.mu.Lock()
		v.lines = append(v.lines, l)
		v.mu.Unlock()
		// Little on the way, so that what was sent is soon what was received.
		client.(*net.TCPConn).SetReadBuffer(64 << 10)
		go v.pass(l, server, client, &v.rate)
		go v.pass(l, client, server, new(atomic.Int64))
	}
}

func (v *valve) pass(l *line, to, from net.Conn, rate *atomic.Int64) {
	defer l.close()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if l.frozen.Load() {
			io.Copy(io.Discard, from) // the bytes are acknowledged, but arrive nowhere
			return
		}
		if n > 0 {
			if r := rate.Load(); r > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(r))
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *line) close() {
	l.client.Close()
	l.server.Close()
}

// cut breaks every connection there is.
func (v *valve) cut() { v.each((*line).close) }

// dark breaks every connection, and every one that is tried, until it is called
// with false.
func (v *valve) dark(on bool) {
	v.away.Store(on)
	if on {
		v.cut()
	}
}

// freeze silences every connection there is. Those to come are not concerned.
func (v *valve) freeze() { v.each(func(l *line) { l.frozen.Store(true) }) }

func (v *valve) each(do func(*line)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.lines {
		do(l)
	}
}

// redirect sends the connections to come to another server.
func (v *valve) redirect(target string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.target = target
}
