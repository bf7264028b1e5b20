package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

// server is the real middleware before an app that hashes what it gets. It can
// be stopped and started again on the same store.
type server struct {
	t    *testing.T
	dir  string
	addr string
	opts middleware.Options

	mu     sync.Mutex
	bodies map[[32]byte]int64
	store  *filestore.Store
	ingest *middleware.Ingest
	http   *http.Server
}

func startServer(t *testing.T, opts middleware.Options) *server {
	s := &server{t: t, dir: t.TempDir(), opts: opts, bodies: map[[32]byte]int64{}}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) url() string { return "ws://" + s.addr + "/upload/" }

func (s *server) start() {
	s.t.Helper()
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	if s.store, err = filestore.New(s.dir, filestore.Options{}); err != nil {
		s.t.Fatal(err)
	}
	if s.ingest, err = middleware.New(s.store, s.opts); err != nil {
		s.t.Fatal(err)
	}
	s.http = &http.Server{Handler: s.ingest.Wrap(http.HandlerFunc(s.app))}
	go s.http.Serve(l)
}

func (s *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.http.Close()
	if err := s.ingest.Shutdown(ctx); err != nil {
		s.t.Errorf("Shutdown: %v", err)
	}
	s.store.Close()
}

func (s *server) app(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.bodies[[32]byte(h.Sum(nil))] = n
	s.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "took %d bytes", n)
}

func (s *server) has(content []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.bodies[sha256.Sum256(content)]
	return ok && n == int64(len(content))
}

func bound(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1, byte(n)}).Read(b)
	return b
}

func impatient() client.Options {
	return client.Options{Retry: client.Retry{MinDelay: 5 * time.Millisecond, MaxDelay: 50 * time.Millisecond}}
}

func TestRealServerTakesEverySource(t *testing.T) {
	s := startServer(t, middleware.Options{})
	for _, n := range []int{0, 1, 256 << 10, 300_000, 20 << 20} {
		data := content(n)
		for kind, src := range map[string]*client.Source{
			"ReaderAt": client.FromReaderAt(bytes.NewReader(data), int64(n)),
			"Reader":   client.FromReader(io.MultiReader(bytes.NewReader(data)), client.UnknownSize),
		} {
			for _, lanes := range []int{1, 3} {
				if lanes > 1 && kind == "Reader" {
					continue
				}
				o := impatient()
				o.WantDigest, o.Lanes = true, lanes
				r, err := client.Upload(bound(t), s.url(), src, o)
				if err != nil {
					t.Fatalf("%s of %d bytes, %d lanes: %v", kind, n, lanes, err)
				}
				sum := sha256.Sum256(data)
				if !bytes.Equal(r.SHA256, sum[:]) || r.Response == nil || r.Response.Status != http.StatusCreated || !s.has(data) || r.Reconnects > 0 {
					t.Errorf("%s of %d bytes, %d lanes: %+v", kind, n, lanes, r)
				}
			}
		}
	}
}

func TestManyFilesOverOneRealConnection(t *testing.T) {
	const files = 1000
	connected := 0
	var mu sync.Mutex
	s := startServer(t, middleware.Options{Observer: func(e middleware.Event) {
		if e.Kind == middleware.Connected {
			mu.Lock()
			connected++
			mu.Unlock()
		}
	}})
	c, err := client.New(s.url(), impatient())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	var wg sync.WaitGroup
	todo := make(chan int)
	for range 100 {
		wg.Go(func() {
			for i := range todo {
				data := content(1024 + i)
				if _, err := c.Upload(bound(t), client.FromReaderAt(bytes.NewReader(data), int64(len(data)))); err != nil {
					t.Errorf("file %d: %v", i, err)
				} else if !s.has(data) {
					t.Errorf("file %d did not arrive", i)
				}
			}
		})
	}
	for i := range files {
		todo <- i
	}
	close(todo)
	wg.Wait()
	t.Logf("%d files in %v", files, time.Since(began))
	if connected != 1 {
		t.Errorf("%d connections", connected)
	}
}

// cutter is a TCP proxy that cuts each of its first connections after a while.
type cutter struct {
	l    net.Listener
	left int
	rng  *rand.Rand
	wg   sync.WaitGroup
}

func startCutter(t *testing.T, to string, cuts int, most int64, seed uint64) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{l: l, left: cuts, rng: rand.New(rand.NewPCG(seed, 7))}
	c.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			after := int64(1) << 62
			if c.left > 0 {
				c.left--
				after = 500 + c.rng.Int64N(most)
			}
			c.wg.Go(func() { c.carry(in, to, after) })
		}
	})
	t.Cleanup(func() { l.Close(); c.wg.Wait() })
	return "ws://" + l.Addr().String() + "/upload/"
}

func (c *cutter) carry(in net.Conn, to string, after int64) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	var wg sync.WaitGroup
	wg.Go(func() { io.CopyN(out, in, after); in.Close(); out.Close() })
	wg.Go(func() { io.Copy(in, out); in.Close(); out.Close() })
	wg.Wait()
}

func TestCutsAtRandomBytesLoseNothing(t *testing.T) {
	data := content(5 << 20)
	for seed := range uint64(3) {
		for _, lanes := range []int{1, 2} {
			s := startServer(t, middleware.Options{})
			url := startCutter(t, s.addr, 8, 2<<20, seed)
			for kind, src := range map[string]*client.Source{
				"ReaderAt": client.FromReaderAt(bytes.NewReader(data), int64(len(data))),
				"Reader":   client.FromReader(io.MultiReader(bytes.NewReader(data)), client.UnknownSize),
			} {
				o := impatient()
				o.Lanes = lanes
				if r, err := client.Upload(bound(t), url, src, o); err != nil || !s.has(data) {
					t.Errorf("seed %d, %s, %d lanes: %+v, %v", seed, kind, lanes, r, err)
				}
			}
		}
	}
}

func TestServerRestartsUnderAnUpload(t *testing.T) {
	data := content(40 << 20)
	for _, lanes := range []int{1, 3} {
		s := startServer(t, middleware.Options{})
		src := client.FromReaderAt(bytes.NewReader(data), int64(len(data)))
		restart := make(chan struct{})
		var once sync.Once
		src.OnProgress = func(p client.Progress) {
			if p.Received > 0 {
				once.Do(func() { close(restart) })
			}
		}
		done := make(chan error, 1)
		o := impatient()
		o.Lanes, o.WantDigest = lanes, true
		go func() {
			_, err := client.Upload(bound(t), s.url(), src, o)
			done <- err
		}()
		select {
		case <-restart:
			s.stop()
			s.start()
		case err := <-done: // it was too quick to be interrupted
			done <- err
		}
		if err := <-done; err != nil || !s.has(data) {
			t.Errorf("%d lanes: %v", lanes, err)
		}
	}
}

func TestInterruptedFileGoesOnInAnotherProcess(t *testing.T) {
	s := startServer(t, middleware.Options{})
	data := content(64 << 20)
	path := filepath.Join(t.TempDir(), "file.bin")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	o := impatient()
	o.StateDir = t.TempDir()
	ctx, cancel := context.WithCancel(bound(t))
	src, err := client.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	src.ReaderAt = &gate{ReaderAt: src.ReaderAt, ctx: ctx, after: 32 << 20}
	src.OnProgress = func(p client.Progress) {
		if p.Durable > 0 {
			cancel()
		}
	}
	if _, err := client.Upload(ctx, s.url(), src, o); !errors.Is(err, context.Canceled) || !client.Resumable(err) {
		t.Fatal(err)
	}
	r, err := client.UploadFile(bound(t), s.url(), path, o)
	if err != nil || r.ResumedFrom == 0 || r.ResumedFrom > 32<<20 || !s.has(data) {
		t.Errorf("%+v, %v", r, err)
	}
}

// gate does not give the bytes behind after before ctx ends, but for those at
// the very end, which the fingerprint is taken of.
type gate struct {
	io.ReaderAt
	ctx   context.Context
	after int64
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > g.after && off < 60<<20 {
		<-g.ctx.Done()
		return 0, g.ctx.Err()
	}
	return g.ReaderAt.ReadAt(p, off)
}

func TestTLSAndCredentials(t *testing.T) {
	store, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ingest, err := middleware.New(store, middleware.Options{})
	if err != nil {
		t.Fatal(err)
	}
	handler := ingest.Wrap(http.NotFoundHandler())
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "me" || pass != "secret" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	defer srv.Close()
	defer ingest.Shutdown(bound(t))
	data := content(3 << 20)
	src := func() *client.Source { return client.FromReaderAt(bytes.NewReader(data), int64(len(data))) }

	var cert *tls.CertificateVerificationError
	if _, err := client.Upload(bound(t), srv.URL, src(), impatient()); !errors.As(err, &cert) {
		t.Errorf("unknown certificate: %v", err)
	}
	o := impatient()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	o.TLSConfig = &tls.Config{RootCAs: pool}
	var refused *client.RefusedError
	if _, err := client.Upload(bound(t), srv.URL, src(), o); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("no credentials: %v", err)
	}
	// The handler behind answers 404, which is the app's word on the finished file.
	url := "wss://me:secret@" + srv.Listener.Addr().String()
	if _, err := client.Upload(bound(t), url, src(), o); !errors.Is(err, client.ErrRejected) {
		t.Errorf("with credentials: %v", err)
	}
}
