package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// rawServer upgrades by hand and gives the test the naked connection.
func rawServer(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	var all sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		all.Add(1)
		defer all.Done()
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: "+
			r.Header.Get("Sec-WebSocket-Protocol")+"\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(key[:])+"\r\n\r\n")
		serve(c, rw.Reader)
	}))
	t.Cleanup(func() { srv.Close(); all.Wait() })
	return "ws" + srv.URL[len("http"):]
}

// countingConn counts the writes to the network.
type countingConn struct {
	net.Conn
	writes, bytes atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	c.bytes.Add(int64(len(p)))
	return c.Conn.Write(p)
}

func testDial(t *testing.T, url string, o Options) *conn {
	t.Helper()
	d, err := newDialer(url, &o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.dial(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDataLeavesInLargeWrites(t *testing.T) {
	received := make(chan int64, 1)
	url := rawServer(t, func(c net.Conn, r *bufio.Reader) {
		n, _ := io.Copy(io.Discard, r)
		received <- n
	})
	var counted *countingConn
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		counted = &countingConn{Conn: c}
		return counted, err
	}}
	c := testDial(t, url, Options{HTTPClient: &http.Client{Transport: transport}})
	c.serve(nil)
	counted.writes.Store(0)
	const messages = 64
	for range messages {
		if err := c.write(websocket.MessageBinary, make([]byte, 256<<10), true); err != nil {
			t.Fatal(err)
		}
	}
	if n := counted.writes.Load(); n != messages {
		t.Errorf("%d writes for %d messages of 256 KiB", n, messages)
	}
	// Small messages leave together.
	counted.writes.Store(0)
	for range messages {
		if err := c.write(websocket.MessageText, make([]byte, 100), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	if n := counted.writes.Load(); n != 1 {
		t.Errorf("%d writes for %d small messages", n, messages)
	}
	c.cut()
	c.goodbye(websocket.StatusNormalClosure, "")
	<-received
}

func TestNothingIsAllocatedPerChunk(t *testing.T) {
	url := rawServer(t, func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, c) })
	c := testDial(t, url, Options{})
	c.serve(nil)
	const chunk, chunks = 64 << 10, 2000
	src := FromReaderAt(zeros{}, chunk*chunks)
	f := &fileFeed{src: src}
	tr := &transfer{src: src, file: f, feed: f, settled: make(chan struct{})}
	tr.ctx, tr.cancel = context.WithCancel(context.Background())
	defer tr.cancel()
	s := newSender(tr.ctx, c)
	s.credit.window, s.credit.chunk = 1<<40, chunk
	fl := newFlow(tr, s.credit, nil, true)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.stream(fl, src.Size); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > chunks/10 {
		t.Errorf("%d allocations for %d chunks", n, chunks)
	}
	if crc, ok := tr.sums.whole(src.Size); !ok {
		t.Errorf("the checksum of the whole is not known: %x", crc)
	}
	c.cut()
	c.goodbye(websocket.StatusNormalClosure, "")
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// A ping that comes while a message is on its way is answered behind it,
// however long that takes, and does not cost the connection.
func TestPingIsAnsweredBehindTheMessageUnderway(t *testing.T) {
	const size = 16 << 20 // more than the socket's buffers hold
	pong := make(chan []byte, 1)
	ping, read := make(chan struct{}), make(chan struct{})
	url := rawServer(t, func(c net.Conn, r *bufio.Reader) {
		<-ping
		c.Write([]byte{0x89, 4, 'l', 'i', 'f', 'e'})
		<-read
		io.CopyN(io.Discard, r, size+14)
		frame := make([]byte, 2+4+4)
		io.ReadFull(r, frame)
		for i := range 4 {
			frame[6+i] ^= frame[2+i]
		}
		pong <- frame
		io.Copy(io.Discard, r)
	})
	c := testDial(t, url, Options{})
	c.serve(nil)
	sent := make(chan error, 1)
	go func() { sent <- c.write(websocket.MessageBinary, make([]byte, size), true) }()
	for c.cork.writing.Load() == 0 {
		runtime.Gosched()
	}
	close(ping)
	for c.cork.ping.Load() == nil {
		runtime.Gosched()
	}
	close(read)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	select {
	case frame := <-pong:
		if frame[0] != 0x8A || frame[1] != 0x84 || !bytes.Equal(frame[6:], []byte("life")) {
			t.Errorf("frame %x", frame)
		}
	case <-time.After(10 * time.Second):
		t.Error("no pong")
	}
	c.cut()
	c.goodbye(websocket.StatusNormalClosure, "")
}

func TestIdlePingIsAnsweredAtOnce(t *testing.T) {
	answered := make(chan error, 1)
	url := rawServer(t, func(c net.Conn, r *bufio.Reader) {
		c.Write([]byte{0x89, 0})
		_, err := io.ReadFull(r, make([]byte, 6))
		answered <- err
		io.Copy(io.Discard, r)
	})
	c := testDial(t, url, Options{})
	c.serve(nil)
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("no pong")
	}
	c.cut()
	c.goodbye(websocket.StatusNormalClosure, "")
}

func TestWriteThatDoesNotGetThroughIsNoticed(t *testing.T) {
	var retried string
	f := newFake(t, func(f *fake) {
		f.window, f.chunk = 64<<20, 256<<10
		f.interval = 200 * time.Millisecond
		f.onData = func(c *fakeConn, u *fakeUpload) error {
			if c.n == 1 {
				return errDeaf
			}
			return nil
		}
	})
	o := quick()
	o.Retry.OnRetry = func(err error, _ time.Duration) { retried += err.Error() + "\n" }
	r, err := Upload(testContext(t), f.url, FromReaderAt(zeros{}, 48<<20), o)
	if err != nil || r.Reconnects == 0 || !strings.Contains(retried, "a write did not get through") {
		t.Errorf("%+v, %v, retried after %s", r, err, retried)
	}
}

func TestServerThatSpeaksOtherwiseIsNamed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err == nil {
			<-c.CloseRead(context.Background()).Done()
			c.CloseNow()
		}
	}))
	defer srv.Close()
	_, err := Upload(testContext(t), srv.URL, FromReader(bytes.NewReader(nil), 0), quick())
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("error %v", err)
	}
}
