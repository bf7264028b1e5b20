package python

import (
	"context"
	"errors"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// strict is a server for one upload that notes every liberty a client takes,
// and does on each connection what its script says.
type strict struct {
	t             *testing.T
	http          *httptest.Server
	window, chunk int64
	interval      time.Duration
	subprotocols  []string // that it speaks; nil: ours
	// refuse answers the nth handshake instead of an upgrade, if it says so.
	refuse func(n int, w http.ResponseWriter) bool
	// script is called behind each message with bytes. What it returns ends the
	// connection. The next may begin meanwhile: what scripts keep from one call to
	// the next is atomic.
	script func(c *strictConn) error

	handlers sync.WaitGroup // which run

	mu       sync.Mutex // a connection may still be ending when the next one begins
	content  []byte
	tries    []time.Time     // of connecting
	silences []time.Duration // of each connection that broke, see broken
}

type strictConn struct {
	*strict
	n     int // from 1
	ws    *websocket.Conn
	id    string
	plain int64 // bytes of the file, on a plain connection; -1: it is a full one
	edge  int64
	later <-chan time.Time // when it grants credit again; nil: it is not pausing
	beats int              // heartbeats it has sent in place of credit
	over  atomic.Bool      // it ends the connection itself

	said    time.Time     // when it began to say the last thing; guarded by mu
	silence time.Duration // the longest it said nothing; guarded by mu
}

// newStrict starts the server. What is in s is not to be changed any more.
func newStrict(t *testing.T, s *strict) *strict {
	s.t = t
	s.http = httptest.NewServer(s)
	t.Cleanup(func() {
		s.http.Close()
		s.handlers.Wait() // which Close does not, once they speak WebSocket
	})
	return s
}

func (s *strict) url() string { return "ws" + s.http.URL[len("http"):] + "/upload/" }

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	s.mu.Lock()
	s.tries = append(s.tries, time.Now())
	n := len(s.tries)
	s.mu.Unlock()
	if s.refuse != nil && s.refuse(n, w) {
		return
	}
	speaks := s.subprotocols
	if speaks == nil {
		speaks = []string{protocol.Subprotocol}
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: speaks})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(16 << 20)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := &strictConn{strict: s, n: n, ws: ws, plain: -1}
	if ws.Subprotocol() == "" {
		c.id = r.URL.Query().Get("id")
		c.plain, _ = strconv.ParseInt(r.URL.Query().Get("length"), 10, 64)
		c.ready()
	}
	in := make(chan message)
	go c.read(ctx, in)
	for err == nil {
		select {
		case m := <-in:
			switch {
			case m.err != nil:
				err = m.err
			case m.typ == websocket.MessageBinary:
				err = c.take(m.p)
			default:
				err = c.told(m.p)
			}
		case <-c.later:
			c.later = nil
			err = c.grant(c.window)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
}

type message struct {
	typ websocket.MessageType
	p   []byte
	err error
}

func (c *strictConn) read(ctx context.Context, in chan<- message) {
	for err := error(nil); err == nil; {
		var m message
		m.typ, m.p, err = c.ws.Read(ctx)
		m.err = err
		if err != nil && websocket.CloseStatus(err) == -1 && !c.over.Load() {
			c.broke()
		}
		select {
		case in <- m:
		case <-ctx.Done():
			return
		}
	}
}

func (c *strictConn) say(m protocol.Message) error {
	c.mu.Lock()
	c.endSilence()
	c.mu.Unlock()
	return c.ws.Write(context.Background(), websocket.MessageText, protocol.Encode(m))
}

// endSilence takes the silence up to now into account. c.mu is held.
func (c *strictConn) endSilence() {
	now := time.Now()
	if !c.said.IsZero() {
		c.silence = max(c.silence, now.Sub(c.said))
	}
	c.said = now
}

// broke notes that the connection ended without a close frame.
func (c *strictConn) broke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endSilence()
	c.silences = append(c.silences, c.silence)
}

// broken returns the longest silence of the server on each connection that
// ended without a close frame.
func (s *strict) broken() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.silences)
}

func (s *strict) received() int64 { return int64(len(s.taken())) }

// taken returns the content so far.
func (s *strict) taken() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content
}

func (s *strict) add(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content = append(s.content, p...)
}

func (c *strictConn) ready() error {
	at := c.received()
	c.edge = at + c.window
	have := []protocol.Have{}
	if at > 0 {
		have = append(have, protocol.Have{Range: protocol.Range{End: &at}, CRC32C: protocol.CRC32C(crc(c.taken()))})
	}
	return c.say(&protocol.Ready{
		ID: c.id, Offset: at, Received: at, Cursor: at, Have: have, Window: c.window, Chunk: c.chunk,
		Keepalive: protocol.Keepalive{IntervalMS: c.interval.Milliseconds(), TimeoutMS: 60_000},
	})
}

func (c *strictConn) grant(window int64) error {
	c.edge = max(c.edge, c.received()+window)
	return c.say(&protocol.Ack{ID: c.id, Offset: c.received(), Received: c.received(), Window: window, Chunk: c.chunk})
}

// take counts the bytes of a message, and has the script say what comes of it.
func (c *strictConn) take(p []byte) error {
	if c.id == "" {
		c.t.Error("bytes came before the upload was opened")
	}
	c.add(p)
	if c.plain >= 0 {
		if err := c.script(c); err != nil {
			return err
		}
		if c.received() == c.plain {
			return c.done()
		}
		return nil
	}
	if c.received() > c.edge {
		c.t.Errorf("bytes up to %d came, those up to %d were granted", c.received(), c.edge)
	}
	if int64(len(p)) > c.chunk {
		c.t.Errorf("a message of %d bytes came, the chunk is %d", len(p), c.chunk)
	}
	return c.script(c)
}

func (c *strictConn) told(text []byte) error {
	m, err := protocol.DecodeClient(text)
	if err != nil {
		c.t.Error(err)
		return err
	}
	switch m := m.(type) {
	case *protocol.Open:
		if c.id != "" && c.id != m.ID {
			c.t.Errorf("the upload %q was opened as %q", c.id, m.ID)
		}
		c.id = m.ID
		return c.ready()
	case *protocol.Finish:
		if m.Digest == nil || m.Digest.CRC32C == nil || uint32(*m.Digest.CRC32C) != crc(c.taken()) {
			c.t.Error("finish came without the CRC-32C of what was sent")
		}
		return c.done()
	}
	c.t.Errorf("%T came", m)
	return nil
}

func (c *strictConn) done() error {
	sum := protocol.CRC32C(crc(c.taken()))
	c.over.Store(true)
	c.say(&protocol.Done{ID: c.id, Length: c.received(), Digest: &protocol.Digest{CRC32C: &sum}})
	return c.ws.Close(websocket.StatusNormalClosure, "")
}

// connections returns how often the client connected, or tried to.
func (s *strict) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tries)
}

// waited returns how long the client waited before the nth connection, counted
// from 1.
func (s *strict) waited(n int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tries) < n {
		s.t.Fatalf("there were %d connections, expected %d", len(s.tries), n)
	}
	return s.tries[n-1].Sub(s.tries[n-2])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// errCut ends a connection without a word.
var errCut = errors.New("cut")
