package python

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/filestore"
)

// TestMain has more tests run side by side than there are processors: they wait
// for most of their time.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "6")
	os.Exit(m.Run())
}

// server is the middleware with a file store, and an app that keeps what it
// gets.
type server struct {
	http   *httptest.Server
	ingest *middleware.Ingest
	line   *line

	mu     sync.Mutex
	files  map[string][]byte // by name
	status int
}

func newServer(t *testing.T) *server { return newServerWith(t, middleware.Options{}) }

func newServerWith(t *testing.T, o middleware.Options) *server {
	store, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{files: map[string][]byte{}, status: http.StatusCreated}
	s.ingest, err = middleware.New(store, o)
	if err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewServer(s.ingest.Wrap(http.HandlerFunc(s.app)))
	s.line = newLine(t, s.http.Listener.Addr().String())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.ingest.Shutdown(ctx)
		s.http.Close()
		store.Close()
	})
	return s
}

func (s *server) app(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, name, _ := strings.Cut(r.Header.Get("Content-Disposition"), "filename=")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[strings.Trim(name, `"`)] = body
	w.WriteHeader(s.status)
	fmt.Fprintf(w, "took %d bytes", len(body))
}

// answers has the app answer with another status than 201.
func (s *server) answers(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *server) url() string { return "ws://" + s.line.address() + "/upload/" }

func (s *server) mustHave(t *testing.T, name string, want []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, ok := s.files[name]; !ok || !bytes.Equal(got, want) {
		t.Errorf("the app got %d bytes as %q (%v), expected %d", len(got), name, ok, len(want))
	}
}

// line is a TCP proxy that counts the bytes to the server, can be slow, can be
// cut, and can swallow everything.
type line struct {
	ln     net.Listener
	server string
	rate   atomic.Int64 // bytes a second; 0: as fast as it goes
	sent   atomic.Int64
	conns  atomic.Int64

	mu    sync.Mutex
	open  map[net.Conn]bool
	holes []*atomic.Bool // of each connection: nothing goes through any more
	stop  chan struct{}
}

func newLine(t *testing.T, server string) *line {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{ln: ln, server: server, open: map[net.Conn]bool{}, stop: make(chan struct{})}
	go l.accept()
	t.Cleanup(func() { ln.Close(); l.cut(); close(l.stop) })
	return l
}

func (l *line) address() string { return l.ln.Addr().String() }

func (l *line) accept() {
	for {
		client, err := l.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.server)
		if err != nil {
			client.Close()
			continue
		}
		l.conns.Add(1)
		l.mu.Lock()
		l.open[client], l.open[server] = true, true
		hole := new(atomic.Bool)
		l.holes = append(l.holes, hole)
		l.mu.Unlock()
		go l.pump(client, server, hole, nil)
		go l.pump(server, client, hole, &l.sent)
	}
}

func (l *line) pump(to, from net.Conn, hole *atomic.Bool, count *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if hole.Load() {
			<-l.stop
			return
		}
		if count != nil {
			count.Add(int64(n))
			if rate := l.rate.Load(); rate > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			}
		}
		if _, e := to.Write(buf[:n]); err != nil || e != nil {
			return
		}
	}
}

// cut breaks every connection.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.Close()
		delete(l.open, c)
	}
}

// swallow has nothing go through the connections there are, nor closes them.
func (l *line) swallow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, hole := range l.holes {
		hole.Store(true)
	}
}

// until waits for so many bytes to have gone to the server.
func (l *line) until(t *testing.T, n int64) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); l.sent.Load() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes were sent within 30 s, expected %d", l.sent.Load(), n)
		}
	}
}

func interpreter() string {
	if p := os.Getenv("WSINGEST_PYTHON"); p != "" {
		return p
	}
	return "/usr/bin/python3"
}

// library is a version of websockets to run the clients with. Its path comes
// before what is installed; "" is what is installed.
type library struct{ path string }

// newer is the directory of websockets 14 or later, which make packages fills.
func newer(t *testing.T) library {
	dir := os.Getenv("WSINGEST_WEBSOCKETS")
	if dir == "" {
		home, _ := os.UserHomeDir()
		dir = filepath.Join(home, ".cache", "wsingest", "websockets")
	}
	if _, err := os.Stat(filepath.Join(dir, "websockets", "asyncio", "client.py")); err != nil {
		t.Fatalf("%v: there must be websockets 14 or later in %s (make packages puts it there), or in the directory that WSINGEST_WEBSOCKETS names", err, dir)
	}
	return library{dir}
}

// withEach runs a test with the interface that websockets had up to version
// 13, or whatever is installed, and with the one it has since. To the server, and
// so to the race detector, the two are the same.
func withEach(t *testing.T, test func(t *testing.T, py library)) {
	t.Parallel()
	t.Run("installed", func(t *testing.T) { t.Parallel(); test(t, library{}) })
	if raced {
		return
	}
	t.Run("newer", func(t *testing.T) { t.Parallel(); test(t, newer(t)) })
}

// run is one run of a Python program.
type run struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func (py library) start(t *testing.T, stdin io.Reader, args ...string) *run {
	t.Helper()
	return py.startIn(t, ".", stdin, args...)
}

func (py library) startIn(t *testing.T, dir string, stdin io.Reader, args ...string) *run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	r := &run{cmd: exec.CommandContext(ctx, interpreter(), args...)}
	r.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+py.path)
	r.cmd.Dir = dir
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = stdin, &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *run) exits(t *testing.T, code int) {
	t.Helper()
	var exit *exec.ExitError
	if err := r.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := r.cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit code %d, expected %d\n%s%s", got, code, &r.stdout, &r.stderr)
	}
}

func makeFile(t *testing.T, size int) (string, []byte) {
	t.Helper()
	data := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(data)
	path := filepath.Join(t.TempDir(), "file.bin")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}
