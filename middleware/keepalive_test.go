package middleware_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// fast is a rhythm a test can wait for.
func fast() middleware.Keepalive {
	middleware.AllowFastKeepalive()
	return middleware.Keepalive{Interval: 100 * time.Millisecond, Timeout: 600 * time.Millisecond}
}

// Rule 1: the reader never waits for the disk.
func TestPingsAreAnsweredWhileTheDiskHangs(t *testing.T) {
	gate := make(chan struct{})
	r := newRig(t, rigOptions{wrap: func(s resume.Store) resume.Store { return &gateStore{s, gate} }})
	p := r.full()
	p.Send(open(resume.NewID(), 1<<20))
	ready := next[*protocol.Ready](p)
	p.Data(make([]byte, ready.Window/2))
	p.Data(make([]byte, ready.Window/2))
	messages := make(chan protocol.Message, 1000) // reading must go on: pongs come that way
	go func() {
		defer close(messages)
		for {
			m, err := p.Recv()
			if err != nil {
				return
			}
			messages <- m
		}
	}()
	for range 5 {
		if err := p.WS.Ping(deadline(t)); err != nil {
			t.Fatalf("a ping behind a full window was not answered: %v", err)
		}
	}
	close(gate)
	for m := range messages {
		if ack, ok := m.(*protocol.Ack); ok && ack.Received == ready.Window {
			break
		}
	}
	p.WS.CloseNow()
	for range messages {
	}
}

// Rule 4: acks are cumulative, and few. A plain client hears two messages; that
// is in TestAPlainLoopOfSendsIsAnUpload.
func TestAcksAreFew(t *testing.T) {
	r := newRig(t, rigOptions{})
	const size, chunk = 8 << 20, 4 << 10
	p := r.full()
	p.Send(open(resume.NewID(), size))
	ready := next[*protocol.Ready](p)
	acks, window, received := 0, ready.Window, int64(0)
	for sent := int64(0); sent < size; sent += chunk {
		for sent+chunk-received > window {
			ack := next[*protocol.Ack](p)
			acks, window, received = acks+1, ack.Window, ack.Received
		}
		p.Data(make([]byte, chunk))
	}
	if most := size / chunk / 8; acks > most {
		t.Errorf("%d acks for %d messages, expected at most %d", acks, size/chunk, most)
	}
}

// Rule 5: any byte is life, also one in the middle of a frame, and a missed
// pong is no death.
func TestOneByteInTheMiddleOfAFrameIsLife(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast()}})
	id := resume.NewID()
	conn := r.tcp("/upload/x?id="+string(id), nil)
	go io.Copy(io.Discard, conn) // pings are read and never answered
	const pieces, piece = 48, 100
	const size = pieces * piece
	writeFrame(conn, nil, size)
	for range pieces { // over several timeouts, never slower than minRate
		time.Sleep(50 * time.Millisecond)
		if _, err := conn.Write(make([]byte, piece)); err != nil {
			t.Fatalf("a live connection was cut: %v", err)
		}
	}
	writeText(conn, `{"type":"finish"}`)
	waitFor(t, func() bool { return len(r.app.seen()) == 1 })
	if got := r.app.seen()[0].length; got != size {
		t.Errorf("%d bytes arrived, expected %d", got, size)
	}
}

// Rule 5: but a message that grows by a byte now and then for ever holds a
// connection for nothing. What came before it stays.
func TestAMessageThatTricklesEndsItsConnection(t *testing.T) {
	died := make(chan middleware.Event, 1)
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast(), Observer: func(e middleware.Event) {
		if e.Kind == middleware.Died {
			died <- e
		}
	}}})
	id := resume.NewID()
	conn := r.tcp("/upload/x?id="+string(id), nil)
	br := bufio.NewReader(conn)
	http.ReadResponse(br, nil)
	writeFrame(conn, make([]byte, 1000), 1000)
	writeFrame(conn, nil, 1<<20)
	go func() {
		for range 3000 { // 30 s
			if _, err := conn.Write([]byte{'x'}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, br); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("a trickling connection was not cut off")
	}
	if e := <-died; e.Cause != middleware.CauseTrickling {
		t.Errorf("the cause is %q", e.Cause)
	}
	conn.Close()
	waitFor(t, func() bool {
		st, err := r.store.Stat(t.Context(), id)
		return err == nil && st.Received.EndFrom(0) == 1000
	})
}

// Rule 6: pings go out only after a silence, and one at a time.
func TestPingsGoOnlyIntoSilenceAndOneAtATime(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast()}})
	conn := r.tcp("/upload/x", nil)
	br := bufio.NewReader(conn)
	http.ReadResponse(br, nil)
	pings := countPings(br)

	for range 60 { // busy: a byte each 10 ms, for one timeout
		writeFrame(conn, []byte{1}, 1)
		time.Sleep(10 * time.Millisecond)
	}
	if n := pings.count.Load(); n != 0 {
		t.Errorf("%d pings on a busy line", n)
	}
	// Silent, and it never answers: one ping, then the end at the deadline.
	began := time.Now()
	<-pings.end
	if n := pings.count.Load(); n != 1 {
		t.Errorf("%d pings were under way at once, expected one", n)
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("the silent connection was cut after %v, before its timeout", took)
	}
}

type pingCount struct {
	count atomic.Int64
	end   chan struct{}
}

// countPings reads frames of a server until the connection ends.
func countPings(br *bufio.Reader) *pingCount {
	p := &pingCount{end: make(chan struct{})}
	go func() {
		defer close(p.end)
		for {
			opcode, _, err := readFrame(br)
			if err != nil {
				return
			}
			if opcode == 9 {
				p.count.Add(1)
			}
		}
	}()
	return p
}

// readFrame reads one unmasked frame.
func readFrame(br *bufio.Reader) (opcode byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(h[1] & 127)
	switch n {
	case 126:
		var b [2]byte
		io.ReadFull(br, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		io.ReadFull(br, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(br, payload)
	return h[0] & 15, payload, err
}

func writeText(conn net.Conn, s string) {
	conn.Write(append([]byte{0x81, 0x80 | byte(len(s)), 0, 0, 0, 0}, s...))
}

// Rule 7: a peer that vanished is noticed at the deadline, its upload stays.
func TestAVanishedPeerIsNoticedAndItsUploadStays(t *testing.T) {
	died := make(chan middleware.Event, 1)
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast(), Observer: func(e middleware.Event) {
		if e.Kind == middleware.Died {
			died <- e
		}
	}}})
	data := content(30, 100_000)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data[:60_000], 20_000)
	p.Acked(60_000) // and from now on it reads nothing, so answers no ping
	if e := <-died; e.Cause != middleware.CauseSilent {
		t.Errorf("the cause is %q", e.Cause)
	}
	r.finishFrom(id, data, 60_000)
}

// A full client hears something each interval, whatever happens or does not:
// a browser cannot see pings.
func TestAFullClientHearsAHeartbeat(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast()}})
	p := r.full()
	p.Send(open(resume.NewID(), 100))
	ready := next[*protocol.Ready](p)
	if ready.Keepalive.IntervalMS != 100 || ready.Keepalive.TimeoutMS != 600 {
		t.Errorf("ready announces %+v", ready.Keepalive)
	}
	for range 8 { // longer than the timeout: pongs are sent by the library
		next[*protocol.Ack](p)
	}
}

func TestHeartbeatsSayWhatIsBeingDone(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast()}})
	release := make(chan struct{})
	r.app.answer = func(http.ResponseWriter, *http.Request, []byte) { <-release }
	p := r.full()
	o := open(resume.NewID(), 5)
	o.Eager = true
	p.Send(o)
	p.Data([]byte("hello"))
	p.Send(&protocol.Finish{})
	next[*protocol.Ready](p)
	for next[*protocol.Ack](p).State != protocol.StateDelivering {
	}
	close(release)
	next[*protocol.Done](p)
}

// A connection that holds no upload is not kept for ever.
func TestAConnectionWithoutAnUploadIsEnded(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast()}})
	fails(r.full(), protocol.IdleTimeout)
}

// Rule 8: saying goodbye is bounded, also to a peer that is silent in the
// middle of a frame and reads nothing.
func TestGoodbyeIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	conn := r.tcp("/upload/x", nil)
	br := bufio.NewReader(conn)
	http.ReadResponse(br, nil)
	readFrame(br) // ready: the session is up
	writeFrame(conn, content(1, 100), 1<<20)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	began := time.Now()
	if err := r.ingest.Shutdown(ctx); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("goodbye took %v", took)
	}
}

// Rule 10: a ping that is not answered leaves the connection usable.
func TestAPongThatComesLateHarmsNothing(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast()}})
	id := resume.NewID()
	conn := r.tcp("/upload/x?id="+string(id), nil)
	br := bufio.NewReader(conn)
	http.ReadResponse(br, nil)
	for {
		if opcode, _, err := readFrame(br); err != nil {
			t.Fatal(err)
		} else if opcode == 9 {
			break
		}
	}
	writeFrame(conn, content(1, 1000), 1000) // life, but no pong
	writeText(conn, `{"type":"finish"}`)
	waitFor(t, func() bool { return len(r.app.seen()) == 1 })
}

// Rule 11: a log that cannot be written stops nothing, at any level.
func TestABlockedLogStopsNoTransfer(t *testing.T) {
	pr, pw := io.Pipe() // nobody reads until the end
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(pw), zap.DebugLevel)
	r := newRig(t, rigOptions{Options: middleware.Options{Logger: zap.New(core)}})
	t.Cleanup(func() { pr.Close() })
	data := content(31, 4<<20)
	for range 3 {
		p := r.full()
		p.Send(open(resume.NewID(), int64(len(data))))
		p.Stream(next[*protocol.Ready](p), data, 16<<10)
		p.Send(&protocol.Finish{})
		next[*protocol.Done](p)
	}
}

// pinging reads in the background, as Ping needs it.
func pinging(p *peer) context.Context {
	go func() {
		for {
			if _, err := p.Recv(); err != nil {
				return
			}
		}
	}()
	return deadline(p.T)
}

// waitFor waits until ok says so.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 20 s")
		}
	}
}

// The window is there to be filled: a fast line gets more than the first
// 256 KiB, and gives it back when it rests.
func TestTheWindowGrowsWithTheLineAndShrinksAtRest(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: fast()}})
	p := r.full()
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	ready := next[*protocol.Ready](p)
	most, window, received := int64(0), ready.Window, int64(0)
	const size, chunk = 64 << 20, 64 << 10
	for sent := int64(0); sent < size; sent += chunk {
		for sent+chunk-received > window {
			ack := next[*protocol.Ack](p)
			window, received = ack.Window, ack.Received
			most = max(most, window)
		}
		p.Data(make([]byte, chunk))
	}
	if most < 1<<20 {
		t.Errorf("the window never exceeded %d bytes", most)
	}
	for {
		if ack := next[*protocol.Ack](p); ack.Received == size && ack.Window <= 256<<10 {
			break
		}
	}
	if allotted := r.ingest.Allotted(); allotted > 1<<20 {
		t.Errorf("%d bytes are allotted to a connection at rest", allotted)
	}
}
