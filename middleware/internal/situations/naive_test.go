package situations

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
)

// naive is the server one writes first: the handler reads a message, writes it
// to the file, and reads the next one. It speaks just enough of the protocol
// for full clients to talk to it, with a window that is always the same.
type naive struct {
	naiveOptions
	dir     string
	size    int64
	disk    *disk
	log     *zap.Logger
	http    *httptest.Server
	running atomic.Int32 // handlers
	killed  atomic.Int32 // connections closed for a missed pong

	mu    sync.Mutex
	files []string // that were finished
}

// naiveOptions are the mistakes that only some situations are about.
type naiveOptions struct {
	acks      bool          // one per chunk, also to plain clients
	pingEvery time.Duration // 0: no pings
	pongIn    time.Duration // a connection whose pong takes longer is closed
	chunk     int64         // what full clients are asked for; 0: 256 KiB
	keepalive middleware.Keepalive
}

// naiveWindow fits into any socket's buffers, so that a client which has used
// it up waits for an ack, and not for its own kernel.
const naiveWindow = 1 << 20

func newNaive(t testing.TB, o naiveOptions, size int64, disk *disk, log *zap.Logger) *naive {
	n := &naive{naiveOptions: o, dir: t.TempDir(), size: size, disk: disk, log: log}
	if n.chunk == 0 {
		n.chunk = 256 << 10
	}
	n.http = httptest.NewServer(n)
	t.Cleanup(n.http.Close)
	return n
}

func (n *naive) address() string { return n.http.Listener.Addr().String() }

func (n *naive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.running.Add(1)
	defer n.running.Add(-1)
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:    []string{protocol.Subprotocol},
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(-1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if n.pingEvery > 0 {
		go n.ping(ctx, ws)
	}
	if ws.Subprotocol() == protocol.Subprotocol {
		err = n.full(ctx, ws)
	} else {
		err = n.plain(ctx, ws, r.URL.Query())
	}
	n.log.Debug("connection ended", zap.Error(err))
}

// ping takes a missed pong for death, as many examples do.
func (n *naive) ping(ctx context.Context, ws *websocket.Conn) {
	for tick := time.Tick(n.pingEvery); ; {
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
		pong, cancel := context.WithTimeout(ctx, n.pongIn)
		err := ws.Ping(pong)
		missed := pong.Err() == context.DeadlineExceeded
		cancel()
		if missed {
			n.killed.Add(1)
			ws.Close(websocket.StatusPolicyViolation, "ping timeout")
		}
		if err != nil {
			return
		}
	}
}

// plain takes a file as it comes. To a client that waits for it, it says how
// far the file goes.
func (n *naive) plain(ctx context.Context, ws *websocket.Conn, query url.Values) error {
	length, err := strconv.ParseInt(query.Get("length"), 10, 64)
	if err != nil {
		return err
	}
	f, off, err := n.file(query.Get("id"))
	if err != nil {
		return err
	}
	defer f.Close()
	if query.Get("offset") == "resume" {
		if err := n.say(ctx, ws, &protocol.Ready{Offset: off, Received: off, Cursor: off}); err != nil {
			return err
		}
	}
	for off < length {
		_, r, err := ws.Reader(ctx)
		if err != nil {
			return err
		}
		n.log.Debug("chunk", zap.Int64("offset", off))
		got, err := io.Copy(diskFile{n, f}, r)
		if err != nil {
			return err
		}
		off += got
		if n.acks {
			if err := n.say(ctx, ws, &protocol.Ack{Offset: off, Received: off}); err != nil {
				return err
			}
		}
	}
	return n.done(ctx, ws, f.Name(), "plain", length)
}

// file opens that of an upload, and returns where it ends: all that there is
// to resuming.
func (n *naive) file(id string) (*os.File, int64, error) {
	if id == "" || strings.ContainsAny(id, "/\\") {
		return nil, 0, fmt.Errorf("not an id: %q", id)
	}
	f, err := os.OpenFile(filepath.Join(n.dir, id), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	off, err := f.Seek(0, io.SeekEnd)
	return f, off, err
}

func (n *naive) write(f *os.File, p []byte) error {
	n.disk.wait()
	_, err := f.Write(p)
	return err
}

func (n *naive) say(ctx context.Context, ws *websocket.Conn, m protocol.Message) error {
	return ws.Write(ctx, websocket.MessageText, protocol.Encode(m))
}

func (n *naive) done(ctx context.Context, ws *websocket.Conn, file, id string, length int64) error {
	n.mu.Lock()
	n.files = append(n.files, file)
	n.mu.Unlock()
	if err := n.say(ctx, ws, &protocol.Done{ID: id, Length: length}); err != nil {
		return err
	}
	_, _, err := ws.Read(ctx) // until the client closes
	return err
}

// full speaks the protocol with one upload a connection. It resumes where the
// file ends.
func (n *naive) full(ctx context.Context, ws *websocket.Conn) error {
	open, err := n.open(ctx, ws)
	if err != nil {
		return err
	}
	f, off, err := n.file(open.ID)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := n.say(ctx, ws, &protocol.Ready{
		ID: open.ID, Offset: off, Received: off, Cursor: off, Length: open.Length,
		Window: naiveWindow, Chunk: n.chunk, Keepalive: protocol.Keepalive{
			IntervalMS: n.keepalive.Interval.Milliseconds(), TimeoutMS: n.keepalive.Timeout.Milliseconds(),
		},
	}); err != nil {
		return err
	}
	for {
		typ, r, err := ws.Reader(ctx)
		if err != nil {
			return err
		}
		if typ == websocket.MessageText { // finish
			io.Copy(io.Discard, r)
			return n.done(ctx, ws, f.Name(), open.ID, off)
		}
		n.log.Debug("chunk", zap.Int64("offset", off))
		got, err := io.Copy(diskFile{n, f}, r)
		if err != nil {
			return err
		}
		off += got
		if err := n.say(ctx, ws, &protocol.Ack{ID: open.ID, Offset: off, Received: off, Window: naiveWindow, Chunk: n.chunk}); err != nil {
			return err
		}
	}
}

func (n *naive) open(ctx context.Context, ws *websocket.Conn) (*protocol.Open, error) {
	_, text, err := ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	m, err := protocol.DecodeClient(text)
	if err != nil {
		return nil, err
	}
	open, ok := m.(*protocol.Open)
	if !ok {
		return nil, fmt.Errorf("not an open: %s", text)
	}
	return open, nil
}

// diskFile writes to a file on the disk that stalls.
type diskFile struct {
	n *naive
	f *os.File
}

func (d diskFile) Write(p []byte) (int, error) { return len(p), d.n.write(d.f, p) }

// intact reports what is wrong with the file that was finished.
func (n *naive) intact() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.files) != 1 {
		return fmt.Errorf("%d files were finished", len(n.files))
	}
	f, err := os.Open(n.files[0])
	if err != nil {
		return err
	}
	defer f.Close()
	return theContent.same(f, n.size)
}

// noticed returns when the server gave up on a connection that had fallen
// silent; false: it has not.
func (n *naive) noticed() (time.Time, bool) { return time.Time{}, n.running.Load() == 0 }
