package python

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

const exitFailed = 1

// upload has the full client send size bytes to a strict server.
func (py library) upload(t *testing.T, s *strict, size int, code int) {
	t.Helper()
	path, data := makeFile(t, size)
	py.start(t, nil, "-m", "wsingest", "--state-dir", "", path, s.url()).exits(t, code)
	if code == exitOK && crc(s.taken()) != crc(data) {
		t.Errorf("%d bytes came, not those of the file", s.received())
	}
}

// The server compares each message with what it granted. It grants in steps
// that fit no chunk, and takes all credit away once.
func TestKeepsWithinWindowAndChunk(t *testing.T) { withEach(t, keepsWithinWindowAndChunk) }

func keepsWithinWindowAndChunk(t *testing.T, py library) {
	var paused atomic.Bool
	s := newStrict(t, &strict{window: 100_000, chunk: 16 << 10, interval: 10 * time.Second, script: func(c *strictConn) error {
		switch {
		case c.received() > 300_000 && paused.CompareAndSwap(false, true):
			c.grant(0)
			c.say(&protocol.Ack{ID: c.id, Received: c.received(), Window: 1 << 20, State: protocol.StateStoring}) // grants nothing
			c.later = time.After(300 * time.Millisecond)
		case c.later == nil && c.edge-c.received() < 40_000:
			return c.grant(c.window)
		}
		return nil
	}})
	py.upload(t, s, 1<<20+1, exitOK)
}

// Each connection ends with another of the ways in which a server asks for
// time.
func TestWaitsAsLongAsItIsAskedTo(t *testing.T) { withEach(t, waitsAsLongAsItIsAskedTo) }

func waitsAsLongAsItIsAskedTo(t *testing.T, py library) {
	refuse := func(n int, w http.ResponseWriter) bool {
		if n == 2 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n == 2
	}
	s := newStrict(t, &strict{window: 1 << 20, chunk: 64 << 10, interval: 10 * time.Second, refuse: refuse, script: func(c *strictConn) error {
		switch c.n {
		case 1:
			c.say(&protocol.Goaway{ID: c.id, Offset: c.received(), RetryAfterMS: 700})
			c.ws.Close(websocket.StatusServiceRestart, "draining")
			return errCut
		case 3:
			c.say(&protocol.Error{ID: c.id, Code: protocol.Overloaded, Detail: "Later.", Resumable: true, RetryAfterMS: 600})
			c.ws.Close(websocket.StatusTryAgainLater, "overloaded")
			return errCut
		}
		return c.grant(c.window)
	}})
	py.upload(t, s, 1<<20, exitOK)
	for n, least := range map[int]time.Duration{2: 700 * time.Millisecond, 3: time.Second, 4: 600 * time.Millisecond} {
		if w := s.waited(n); w < least {
			t.Errorf("it connected for the %dth time after %v, it was asked to wait for %v", n, w, least)
		}
	}
}

// The first connection falls silent and stays open; another says nothing but
// heartbeats for a while. A machine which has no time for this server makes it
// fall silent as well: what the client must not do is to end a connection on
// which it was told something within two intervals.
func TestSilenceIsDeathAndHeartbeatsAreLife(t *testing.T) { withEach(t, silenceIsDeath) }

func silenceIsDeath(t *testing.T, py library) {
	const interval, most = 800 * time.Millisecond, 4
	var lived atomic.Bool // through that many heartbeats, without credit
	s := newStrict(t, &strict{window: 256 << 10, chunk: 64 << 10, interval: interval, script: func(c *strictConn) error {
		if c.n == 1 {
			return nil // the window is used up, and no more comes
		}
		alive := func() error {
			return c.say(&protocol.Ack{ID: c.id, Offset: c.received(), Received: c.received(), Window: c.edge - c.received(), Chunk: c.chunk})
		}
		alive() // a slow machine may take long over a window
		for ; c.beats < most && c.edge == c.received(); c.beats++ {
			if err := alive(); err != nil {
				return err
			}
			time.Sleep(interval)
		}
		if c.edge-c.received() >= 64<<10 {
			return nil
		}
		if err := c.grant(c.window); err != nil {
			return err
		}
		lived.Store(lived.Load() || c.beats == most)
		return nil
	}})
	py.upload(t, s, 1<<20, exitOK)
	if w := s.waited(2); w > 20*interval {
		t.Errorf("it took a silent connection for dead after %v, expected some more than %v and at most %v", w, 2*interval, 20*interval)
	}
	broken := s.broken()
	if n := s.connections(); len(broken) == 0 || n != len(broken)+1 {
		t.Errorf("%d of %d connections broke, expected all but the last", len(broken), n)
	}
	if !lived.Load() {
		t.Errorf("no connection lived through %d heartbeats", most)
	}
	for _, d := range broken {
		if d < 2*interval {
			t.Errorf("it broke a connection on which the longest silence was %v, expected more than %v", d, 2*interval)
		}
	}
}

func TestWhoIsSupersededStops(t *testing.T) { withEach(t, whoIsSupersededStops) }

func whoIsSupersededStops(t *testing.T, py library) {
	s := newStrict(t, &strict{window: 256 << 10, chunk: 64 << 10, interval: 10 * time.Second, script: func(c *strictConn) error {
		c.say(&protocol.Error{ID: c.id, Code: protocol.Superseded, Detail: "Another.", Resumable: true})
		c.ws.Close(websocket.StatusCode(4409), "superseded")
		return errCut
	}})
	py.upload(t, s, 1<<20, 7)
	if n := s.connections(); n != 1 {
		t.Errorf("it connected %d times", n)
	}
}

func TestARefusedHandshakeIsNotTriedForEver(t *testing.T) { withEach(t, aRefusedHandshake) }

func aRefusedHandshake(t *testing.T, py library) {
	for status, code := range map[int]int{http.StatusUnauthorized: exitRejected, http.StatusNotFound: exitFailed} {
		s := newStrict(t, &strict{refuse: func(_ int, w http.ResponseWriter) bool { w.WriteHeader(status); return true }})
		py.upload(t, s, 1, code)
		if n := s.connections(); n != 1 {
			t.Errorf("it connected %d times, the answer was %d", n, status)
		}
	}
}

func TestPlainHTTPBehindAnEncryptedURLIsNotRetried(t *testing.T) {
	withEach(t, plainHTTPBehindAnEncryptedURL)
}

func plainHTTPBehindAnEncryptedURL(t *testing.T, py library) {
	s := newStrict(t, &strict{})
	path, _ := makeFile(t, 1)
	r := py.start(t, nil, "-m", "wsingest", "--state-dir", "", path, strings.Replace(s.url(), "ws:", "wss:", 1))
	r.exits(t, exitFailed)
}

// A server that does not choose the subprotocol is something else.
func TestFailsWithoutTheSubprotocol(t *testing.T) { withEach(t, failsWithoutTheSubprotocol) }

func failsWithoutTheSubprotocol(t *testing.T, py library) {
	s := newStrict(t, &strict{subprotocols: []string{"another"}})
	py.upload(t, s, 1, exitFailed)
}

// The plain loop waits as it is asked to, and its tries begin anew when the
// upload got on: it needs seven connections here, and has five tries.
func TestPlainLoopGoesOnAsLongAsItGetsOn(t *testing.T) { withEach(t, plainLoopGetsOn) }

func plainLoopGetsOn(t *testing.T, py library) {
	path, data := makeFile(t, 2<<20)
	s := newStrict(t, &strict{script: func(c *strictConn) error {
		switch {
		case c.n == 2:
			c.say(&protocol.Error{ID: c.id, Code: protocol.Overloaded, Detail: "Later.", Resumable: true, RetryAfterMS: 1200})
			c.ws.Close(websocket.StatusTryAgainLater, "overloaded")
			return errCut
		case c.n < 7:
			return errCut
		}
		return nil
	}})
	py.start(t, nil, "plain.py", path, s.url()).exits(t, exitOK)
	if crc(s.taken()) != crc(data) {
		t.Errorf("%d bytes came, not those of the file", s.received())
	}
	if w := s.waited(3); w < 1200*time.Millisecond {
		t.Errorf("it connected again after %v, it was asked to wait for 1.2 s", w)
	}
}

// impatient is plain.py with a bound for each send that a test can wait for.
const impatient = `
import asyncio, plain, sys
plain.PATIENCE = 1
asyncio.run(plain.Upload(*sys.argv[1:]).run())
`

// The line swallows everything. The library's ping waits behind the data, and
// so does its goodbye.
func TestPlainLoopLeavesABlackHole(t *testing.T) { withEach(t, plainLoopLeavesABlackHole) }

func plainLoopLeavesABlackHole(t *testing.T, py library) {
	s := newServer(t)
	path, data := makeFile(t, 32<<20) // more than sockets take
	s.line.rate.Store(64 << 20)
	r := py.start(t, nil, "-c", impatient, path, s.url())
	s.line.until(t, 1<<20)
	s.line.swallow()
	s.line.rate.Store(0)
	for end := time.Now().Add(20 * time.Second); s.line.conns.Load() < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not leave a line that swallows everything within 20 s")
		}
	}
	r.exits(t, exitOK)
	s.mustHave(t, "file.bin", data)
}

// Where each send finds room, Ctrl-C comes when one is over and the loop does not
// know yet.
func TestPlainLoopEndsWithCtrlC(t *testing.T) { withEach(t, plainLoopEndsWithCtrlC) }

func plainLoopEndsWithCtrlC(t *testing.T, py library) {
	const size = 128 << 20
	path := filepath.Join(t.TempDir(), "file.bin")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	sends := make(chan struct{})
	s := newStrict(t, &strict{script: func(c *strictConn) error {
		if c.received() > 4<<20 {
			once.Do(func() { close(sends) })
		}
		return nil
	}})
	r := py.start(t, nil, "plain.py", path, s.url())
	select {
	case <-sends:
	case <-time.After(30 * time.Second):
		t.Fatalf("it sent %d bytes within 30 s", s.received())
	}
	r.cmd.Process.Signal(os.Interrupt)
	r.cmd.Wait()
	if r.stdout.Len() > 0 || s.received() == size {
		t.Errorf("it went on to the end: %s", &r.stdout)
	}
}

func TestPlainLoopGivesUpWhenNothingGetsOn(t *testing.T) {
	t.Parallel()
	path, _ := makeFile(t, 1000)
	s := newStrict(t, &strict{refuse: func(_ int, w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}})
	library{}.start(t, nil, "plain.py", path, s.url()).exits(t, exitFailed)
	if n := s.connections(); n != 5 {
		t.Errorf("it connected %d times, expected 5", n)
	}
}
