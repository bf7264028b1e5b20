package situations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// load is what a client is to do, and what keeps it busy meanwhile.
type load struct {
	size  int64
	chunk int           // bytes of a message, at most
	ping  time.Duration // the client library's ping interval, and timeout
	rate  int64         // bytes a second, as they are produced; 0: as fast as they go
	burn  time.Duration // to compute after each message
	tries int           // connections, at most
	file  string        // with the content, for clients that want one
	line  int64         // bytes a second, for a client that should see no buffer in front of its line
	// log is where the client logs at DEBUG; nil: nowhere.
	log *os.File
}

// result is what a client says of its upload.
type result struct {
	done   bool
	hung   bool // it had to be ended from outside
	deaths []death
	detail string
	took   time.Duration
}

type death struct {
	of     string
	after  time.Duration
	detail string
}

// A uploader is one of the clients of the table.
type uploader func(ctx context.Context, address string, l load) (result, error)

// plainURL is that of an upload without the protocol.
func plainURL(address string, size int64) string {
	return fmt.Sprintf("ws://%s/upload/plain.bin?length=%d&id=%s", address, size, resume.NewID())
}

// slowly reads the content as slowly as the load produces it.
type slowly struct {
	io.Reader
	l load
}

func (s slowly) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p[:min(len(p), s.l.chunk)])
	for end := time.Now().Add(s.l.burn); time.Now().Before(end); {
	}
	if s.l.rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(s.l.rate))
	}
	return n, err
}

// uploadWithClient uploads with package client.
func uploadWithClient(ctx context.Context, address string, l load) (r result, err error) {
	began := time.Now()
	connected := began
	died := func(err error) {
		of := cut
		if errors.Is(err, client.ErrStalled) {
			of = stalled
		}
		r.deaths = append(r.deaths, death{of, time.Since(connected), err.Error()})
		connected = time.Now()
	}
	o := client.Options{PingTimeout: l.ping, Retry: client.Retry{
		MaxTries: l.tries, MinDelay: 50 * time.Millisecond, OnRetry: func(err error, _ time.Duration) { died(err) },
	}}
	if l.log != nil {
		o.Logger = debugLogger(l.log)
	}
	src := client.FromReaderAt(theContent, l.size)
	if l.rate > 0 || l.burn > 0 {
		src = client.FromReader(slowly{io.NewSectionReader(theContent, 0, l.size), l}, l.size)
	}
	_, err = client.Upload(ctx, "ws://"+address+"/upload/", src, o)
	switch {
	case err == nil:
		r.done = true
	case ctx.Err() != nil:
		r.hung = true
	default:
		died(err)
	}
	r.took = time.Since(began)
	return r, nil
}

// uploadWithLoop is the loop of sends in Go, as the documentation of
// coder/websocket has it: with a reader beside it, so that pings are answered.
func uploadWithLoop(ctx context.Context, address string, l load) (r result, err error) {
	transport := &http.Transport{DialContext: l.dial}
	defer transport.CloseIdleConnections()
	ws, _, err := websocket.Dial(ctx, plainURL(address, l.size), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return r, err
	}
	defer ws.CloseNow()
	began := time.Now()
	var reading sync.WaitGroup
	reading.Go(func() {
		r.done, err = readAnswer(ctx, ws)
		r.took = time.Since(began)
	})
	for off := int64(0); off < l.size; off += int64(l.chunk) {
		p := make([]byte, min(int64(l.chunk), l.size-off))
		theContent.ReadAt(p, off)
		if ws.Write(ctx, websocket.MessageBinary, p) != nil {
			break // the reader knows why
		}
	}
	reading.Wait()
	if r.hung = ctx.Err() != nil; r.done || r.hung {
		return r, nil
	}
	of := cut
	if errors.Is(err, context.DeadlineExceeded) {
		of = pongTimeout // the only deadline there is: five seconds, inside the library
	}
	r.deaths = []death{{of, r.took, err.Error()}}
	return r, nil
}

func readAnswer(ctx context.Context, ws *websocket.Conn) (done bool, err error) {
	for {
		_, text, err := ws.Read(ctx)
		if err != nil {
			return false, err
		}
		m, err := protocol.DecodeServer(text)
		if err != nil {
			return false, err
		}
		switch m := m.(type) {
		case *protocol.Done:
			return true, nil
		case *protocol.Error:
			return false, m
		}
	}
}

// unbuffered is a connection that takes bytes no faster than the line behind it
// carries them: a message is on its way until its last byte is, and not in a
// buffer of this machine. Of a kernel one cannot have that, since a send buffer
// as short as this would have it stop and wait again and again.
type unbuffered struct {
	net.Conn
	rate int64 // bytes a second; 0: as fast as it goes
	next time.Time
}

func (c *unbuffered) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		piece := p[n:]
		if c.rate > 0 {
			piece = piece[:min(packet, len(piece))]
			c.next = later(c.next, time.Now()).Add(time.Duration(len(piece)) * time.Second / time.Duration(c.rate))
			time.Sleep(time.Until(c.next))
		}
		var wrote int
		wrote, err = c.Conn.Write(piece)
		n += wrote
	}
	return n, err
}

func (l load) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return &unbuffered{Conn: c, rate: l.line}, err
}

func debugLogger(to *os.File) *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), to, zap.DebugLevel))
}
