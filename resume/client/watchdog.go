package client

import (
	"fmt"
	"sync"
	"time"
)

// patience is how long a connection may be silent, or a write may take, as
// long as the server has not told its rhythm.
const patience = 30 * time.Second

// watchdog cuts a connection that shows no life: none of TCP's own means
// notices a peer behind a proxy that goes on to acknowledge. Life is a message,
// or a part of one. Pings do not count, they may be the proxy's. The server says
// something at least every interval, so silence of two means that it, or the
// way to it, is gone.
//
// A write that does not get through is as dead, even if messages arrive: the
// server grants no more than it takes in in a fraction of its own timeout.
type watchdog struct {
	mu      sync.Mutex
	conn    *conn
	timer   *time.Timer
	silence time.Duration // allowed without a message
	write   time.Duration // allowed for one write
	stopped bool
}

func (w *watchdog) start(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.silence, w.write = c, patience, patience
	w.timer = time.AfterFunc(w.silence, w.check)
}

// adopt takes over the server's rhythm; 0 leaves what holds.
func (w *watchdog) adopt(interval, timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if interval > 0 {
		w.silence = 2 * interval
	}
	if timeout > 0 {
		w.write = max(timeout, w.silence)
	}
	if !w.stopped {
		w.timer.Reset(min(w.silence, w.write))
	}
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	now := time.Now().UnixNano()
	next := w.silence - time.Duration(now-w.conn.heard.Load())
	if next <= 0 {
		w.bite(fmt.Errorf("%w: nothing from the server for %v", ErrStalled, w.silence))
		return
	}
	if since := w.conn.cork.writing.Load(); since != 0 {
		left := w.write - time.Duration(now-since)
		if left <= 0 {
			w.bite(fmt.Errorf("%w: a write did not get through for %v", ErrStalled, w.write))
			return
		}
		next = min(next, left)
	} else {
		next = min(next, w.write)
	}
	w.timer.Reset(next)
}

func (w *watchdog) bite(err error) {
	w.stopped = true
	w.conn.fail(err)
	w.conn.cut()
}
