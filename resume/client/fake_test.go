package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// fake is a server in memory that follows the protocol to the letter, notes
// every liberty the client takes, and can be told to misbehave in ways that a
// real server rarely shows.
type fake struct {
	t   *testing.T
	url string

	window, chunk int64
	interval      time.Duration
	lag           int64 // by how many bytes durable trails received
	lossy         bool  // what is not durable is forgotten when another connection takes over

	// Each is called, if set, with the number of the connection, from 1.
	refuse   func(n int, w http.ResponseWriter) bool        // instead of the upgrade
	cutAfter func(n int) int64                              // bytes read before the socket is cut; 0: never
	onData   func(c *fakeConn, u *fakeUpload) error         // behind each binary message
	onOpen   func(c *fakeConn, m *protocol.Open) error      // before ready
	onFinish func(c *fakeConn, u *fakeUpload) (bool, error) // instead of done

	mu      sync.Mutex
	uploads map[string]*fakeUpload
	conns   int
	live    int
	opens   []*protocol.Open
	stop    chan struct{}
}

type fakeConn struct {
	f      *fake
	n      int
	ws     *websocket.Conn
	cur    *fakeUpload
	cursor int64
	stored int64 // payload bytes on this connection
	edge   int64 // how far credit reaches, counted like stored
	eager  bool
	lane   *protocol.Range
	epoch  int
}

// errCut makes a hook cut the connection; errHang makes it fall silent.
var (
	errCut  = errors.New("cut")
	errHang = errors.New("hang")
	errDeaf = errors.New("deaf") // reads nothing any more, but goes on to send heartbeats
)

func newFake(t *testing.T, change func(*fake)) *fake {
	f := &fake{t: t, window: 1 << 20, chunk: 64 << 10, interval: 10 * time.Second,
		uploads: map[string]*fakeUpload{}, stop: make(chan struct{})}
	if change != nil {
		change(f)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	srv.Listener = &cuttingListener{Listener: srv.Listener, f: f}
	srv.Start()
	f.url = "ws" + srv.URL[len("http"):] + "/upload/"
	var once sync.Once
	t.Cleanup(func() {
		once.Do(func() { close(f.stop) })
		srv.Close()
		for deadline := time.Now().Add(5 * time.Second); f.liveConns() > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // hijacked connections are not the test server's any more
		}
	})
	return f
}

func (f *fake) liveConns() int { f.mu.Lock(); defer f.mu.Unlock(); return f.live }

func (f *fake) violation(format string, args ...any) {
	f.t.Errorf("protocol violation: "+format, args...)
}

// upload returns the only upload there is.
func (f *fake) upload() *fakeUpload {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.uploads) != 1 {
		f.t.Fatalf("%d uploads on the server, expected 1", len(f.uploads))
	}
	for _, u := range f.uploads {
		return u
	}
	return nil
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.conns++
	n := f.conns
	f.live++
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.live--; f.mu.Unlock() }()
	if f.refuse != nil && f.refuse(n, w) {
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		return
	}
	ws.SetReadLimit(-1)
	c := &fakeConn{f: f, n: n, ws: ws, edge: protocol.InitialWindow}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	beat := make(chan struct{})
	go func() { defer close(beat); c.heartbeat(ctx) }()
	err = c.run()
	if errors.Is(err, errDeaf) {
		<-f.stop
	}
	cancel()
	<-beat
	var e *protocol.Error
	switch {
	case errors.Is(err, errHang):
		<-f.stop
		ws.CloseNow()
	case errors.As(err, &e):
		c.say(e)
		ws.Close(websocket.StatusCode(e.Code.CloseCode()), "")
	default:
		ws.CloseNow()
	}
}

// heartbeat pings the client and says something every interval.
func (c *fakeConn) heartbeat(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.f.interval):
		}
		c.f.mu.Lock()
		var m protocol.Message
		if u := c.cur; u != nil {
			m = c.ack(u)
		}
		c.f.mu.Unlock()
		if m != nil {
			c.say(m)
		}
	}
}

func (c *fakeConn) say(m protocol.Message) {
	c.ws.Write(context.Background(), websocket.MessageText, protocol.Encode(m))
}

func (c *fakeConn) run() error {
	for {
		typ, p, err := c.ws.Read(context.Background())
		if err != nil {
			return err
		}
		if typ == websocket.MessageBinary {
			err = c.data(p)
		} else {
			err = c.control(p)
		}
		if err != nil {
			return err
		}
	}
}

func (c *fakeConn) control(p []byte) error {
	m, err := protocol.DecodeClient(p)
	if err != nil {
		c.f.violation("%v", err)
		return err
	}
	switch m := m.(type) {
	case *protocol.Open:
		return c.open(m)
	case *protocol.Finish:
		return c.finish(m)
	}
	return fmt.Errorf("unexpected %T", m)
}

func (c *fakeConn) open(m *protocol.Open) error {
	f := c.f
	f.mu.Lock()
	f.opens = append(f.opens, m)
	f.mu.Unlock()
	if f.onOpen != nil {
		if err := f.onOpen(c, m); err != nil {
			return err
		}
	}
	f.mu.Lock()
	u := f.uploads[m.ID]
	if u == nil {
		u = &fakeUpload{id: m.ID, open: m}
		if m.Length != nil {
			u.content = make([]byte, 0, *m.Length)
		}
		f.uploads[m.ID] = u
	}
	if m.Range == nil { // it supersedes who had the upload before
		u.epoch++
		if f.lossy {
			u.forget()
		}
	}
	c.cur, c.eager, c.lane, c.epoch = u, m.Eager, m.Range, u.epoch
	c.cursor = u.received.EndFrom(0)
	if m.Range != nil {
		c.cursor = min(u.received.EndFrom(m.Range.Start), *m.Range.End)
	}
	ready := &protocol.Ready{ID: m.ID, Offset: u.durable, Received: u.received.EndFrom(0), Cursor: c.cursor,
		Length: m.Length, Window: f.window, Chunk: f.chunk, Complete: u.done != nil,
		Missing: []protocol.Range{}, Have: u.have(),
		Keepalive: protocol.Keepalive{IntervalMS: f.interval.Milliseconds(), TimeoutMS: 4 * f.interval.Milliseconds()}}
	for _, r := range u.extents().Missing(resume.Range{Start: 0, End: lengthOf(m)}) {
		m := protocol.Range{Start: r.Start}
		if r.End != resume.Unbounded {
			m.End = &r.End
		}
		ready.Missing = append(ready.Missing, m)
	}
	if u.done != nil {
		ready.Length = &u.done.Length
	}
	if m.Eager {
		c.cursor, ready.Cursor = m.Start(), m.Start()
	}
	c.edge = max(c.edge, c.stored+ready.Window)
	u.told = max(u.told, u.durable)
	done := u.done
	f.mu.Unlock()
	c.say(ready)
	if done != nil {
		c.say(done)
	}
	return nil
}

func lengthOf(m *protocol.Open) int64 {
	if m.Length == nil {
		return resume.Unbounded
	}
	return *m.Length
}

func (c *fakeConn) data(p []byte) error {
	f, u := c.f, c.cur
	if u != nil && u.done != nil && c.eager {
		return nil // it could not know
	}
	if u == nil || u.done != nil {
		f.violation("binary message without an open upload")
		return errCut
	}
	f.mu.Lock()
	if c.epoch != u.epoch {
		f.mu.Unlock()
		return errCut // superseded: what was still on its way reaches nothing
	}
	end := c.cursor + int64(len(p))
	if c.stored += int64(len(p)); c.stored > c.edge {
		f.violation("%d bytes on this connection, credit reaches %d", c.stored, c.edge)
	}
	if !c.eager && c.cursor < u.told && c.lane == nil {
		f.violation("bytes from %d, below the offset %d", c.cursor, u.told)
	}
	if c.lane != nil && end > *c.lane.End {
		f.violation("bytes up to %d on a lane that ends at %d", end, *c.lane.End)
	}
	u.take(c.cursor, p)
	c.cursor = end
	if c.lane == nil {
		u.durable = max(u.durable, min(u.received.EndFrom(0), end)-f.lag)
	}
	u.told = max(u.told, u.durable)
	m := c.ack(u)
	var err error
	if f.onData != nil {
		err = f.onData(c, u)
	}
	f.mu.Unlock()
	if err == nil {
		c.say(m)
	}
	return err
}

func (c *fakeConn) ack(u *fakeUpload) *protocol.Ack {
	c.edge = max(c.edge, c.stored+c.f.window)
	return &protocol.Ack{ID: u.id, Offset: min(u.durable, c.cursor), Received: c.cursor, Window: c.f.window, Chunk: c.f.chunk}
}

func (c *fakeConn) finish(m *protocol.Finish) error {
	f, u := c.f, c.cur
	c.cur = nil
	if f.onFinish != nil {
		if handled, err := f.onFinish(c, u); handled || err != nil {
			return err
		}
	}
	f.mu.Lock()
	u.finish = m
	end := u.received.EndFrom(0)
	if len(u.received) > 1 || end != *m.Length {
		f.mu.Unlock()
		return &protocol.Error{ID: u.id, Code: protocol.MismatchingOffset, Detail: "bytes are missing", Resumable: true}
	}
	if u.done == nil {
		sum := sha256.Sum256(u.content)
		if bad := u.mismatch(m.Digest, sum[:]); bad != "" {
			f.mu.Unlock()
			c.say(&protocol.Error{ID: u.id, Code: protocol.DigestMismatch, Detail: bad})
			return nil
		}
		u.durable = end
		u.done = &protocol.Done{ID: u.id, Length: end, Location: "/files/" + u.open.Name}
		if u.open.WantDigest != "" {
			u.done.Digest = &protocol.Digest{SHA256: sum[:]}
		}
	}
	done := u.done
	f.mu.Unlock()
	c.say(done)
	return nil
}
