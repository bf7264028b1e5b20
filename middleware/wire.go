package middleware

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is a hijacked connection that knows how long it has been silent. Any
// byte that comes in is a sign of life, also one in the middle of a frame that
// the WebSocket library is still waiting for; only here can it be seen.
type wire struct {
	net.Conn
	clock clock
	// waiting is since when a Read has been waiting for a byte, in nanoseconds
	// of the clock; 0 while none does. Silence counts only while somebody
	// listens: a reader that waits for memory says nothing about the peer.
	waiting atomic.Int64
	// total is how many bytes came in.
	total atomic.Int64
	// lastRead is when the last byte came in.
	lastRead atomic.Int64
	// hold says that more is written at once: what is written meanwhile goes out
	// with that, so that many messages to a client of many small files are one
	// write.
	hold atomic.Bool

	mu   sync.Mutex // guards held, also over a write
	held []byte
}

// mostHeld bounds what is held, in bytes.
const mostHeld = 16 << 10

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hold := w.hold.Load() && len(w.held)+len(p) <= mostHeld
	if !hold && len(w.held) == 0 {
		return w.Conn.Write(p)
	}
	w.held = append(w.held, p...)
	if hold {
		return len(p), nil
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// letGo sends what is held still: what was to come behind it did not.
func (w *wire) letGo() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) > 0 {
		_ = w.flush() // the reader finds the connection closed
	}
}

func (w *wire) flush() error {
	_, err := w.Conn.Write(w.held)
	w.held = nil // most connections are idle for long
	return err
}

func (w *wire) Read(p []byte) (int, error) {
	w.waiting.Store(int64(w.clock.now()))
	n, err := w.Conn.Read(p)
	w.total.Add(int64(n))
	w.lastRead.Store(int64(w.clock.now()))
	w.waiting.Store(0)
	return n, err
}

// silence returns for how long the peer has been listened to without a byte.
func (w *wire) silence(now time.Duration) time.Duration {
	since := time.Duration(w.waiting.Load())
	if since == 0 {
		return 0
	}
	return max(0, now-since)
}

// guardSilence has the kernel give up on a peer that acknowledges nothing, as
// a second line behind our own deadline, where the socket can be reached
// through what wraps it.
func (w *wire) guardSilence() {
	conn := w.Conn
	for {
		if sc, ok := conn.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				setUserTimeout(raw, userTimeout)
			}
			return
		}
		inner, ok := conn.(interface{ NetConn() net.Conn }) // *tls.Conn
		if !ok {
			return
		}
		conn = inner.NetConn()
	}
}

// userTimeout is how long sent data may stay unacknowledged (RFC 5482). Longer
// than the half-open deadline, which is the one that decides.
const userTimeout = 2 * time.Minute
