package middleware_test

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Rule 7: behind our own deadline stands the kernel's, which also ends a
// connection while nobody here reads it.
func TestTheKernelGivesUpOnAPeerThatAcknowledgesNothing(t *testing.T) {
	var hijacked atomic.Pointer[net.TCPConn]
	r := newRig(t, rigOptions{under: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&tapped{w, func(c net.Conn) { hijacked.Store(c.(*net.TCPConn)) }}, r)
		})
	}})
	conn := r.tcp("/upload/x", nil)
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return hijacked.Load() != nil }) // the answer goes out first
	if got := userTimeout(t, hijacked.Load()); got != 2*time.Minute {
		t.Errorf("TCP_USER_TIMEOUT is %v, expected 2 min", got)
	}
}

func userTimeout(t *testing.T, conn syscall.Conn) time.Duration {
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	raw.Control(func(fd uintptr) {
		ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	})
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

// tapped is a ResponseWriter that shows the connection when it is hijacked.
type tapped struct {
	http.ResponseWriter
	seen func(net.Conn)
}

func (w *tapped) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.seen(conn)
	}
	return conn, rw, err
}
