package middleware_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/protocol/protocoltest"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// rig is a real server on loopback with a real file store.
type rig struct {
	t      testing.TB
	url    string // ws://.../upload/
	store  resume.Store
	ingest *middleware.Ingest
	server *httptest.Server
	app    *app
}

// app is a handler that knows nothing of us: it reads the body and answers.
type app struct {
	mu       sync.Mutex
	answer   func(w http.ResponseWriter, r *http.Request, body []byte)
	requests []request
}

type request struct {
	method, url string
	header      http.Header
	length      int64
	body        []byte
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.requests = append(a.requests, request{r.Method, r.URL.String(), r.Header.Clone(), r.ContentLength, body})
	answer := a.answer
	a.mu.Unlock()
	if answer != nil {
		answer(w, r, body)
		return
	}
	w.Header().Set("Location", "/files/1")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "took %d bytes", len(body))
}

func (a *app) seen() []request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]request(nil), a.requests...)
}

type rigOptions struct {
	middleware.Options
	store resume.Store                         // nil: a filestore in a directory of its own
	wrap  func(resume.Store) resume.Store      // around it
	under func(next http.Handler) http.Handler // around everything
}

func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	log := zaptest.NewLogger(t, zaptest.Level(zapLevel()))
	store := o.store
	if store == nil {
		fs, err := filestore.New(t.TempDir(), filestore.Options{Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fs.Close() })
		store = fs
	}
	if o.wrap != nil {
		store = o.wrap(store)
	}
	if o.Logger == nil {
		o.Logger = log
	}
	ingest, err := middleware.New(store, o.Options)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: store, ingest: ingest, app: &app{}}
	handler := ingest.Wrap(r.app)
	if o.under != nil {
		handler = o.under(handler)
	}
	r.server = httptest.NewServer(handler)
	r.url = "ws" + strings.TrimPrefix(r.server.URL, "http") + "/upload/"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := ingest.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		r.server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return r
}

type peer = protocoltest.Peer

func (r *rig) dial(query string, protocols ...string) *peer {
	r.t.Helper()
	url := r.url
	if query != "" {
		url += "?" + query
	}
	ws, _, err := websocket.Dial(deadline(r.t), url, &websocket.DialOptions{Subprotocols: protocols})
	if err != nil {
		r.t.Fatalf("dial: %v", err)
	}
	return protocoltest.New(r.t, ws)
}

func (r *rig) full() *peer { return r.dial("", protocol.Subprotocol) }

func next[T protocol.Message](p *peer) T {
	p.T.Helper()
	return protocoltest.Next[T](p)
}

// fails returns the error that is the server's last word, and checks that the
// connection closes with the code that goes with it.
func fails(p *peer, code protocol.Code) *protocol.Error {
	p.T.Helper()
	e := next[*protocol.Error](p)
	if e.Code != code {
		p.T.Fatalf("error %s (%s), expected %s", e.Code, e.Detail, code)
	}
	if len(e.Detail) < 20 {
		p.T.Errorf("the detail %q does not tell a person what to do", e.Detail)
	}
	if status := p.Closed(); e.EndsConnection() && int(status) != code.CloseCode() {
		p.T.Errorf("closed with %d, expected %d", status, code.CloseCode())
	}
	return e
}

func open(id resume.ID, length int64) *protocol.Open {
	return &protocol.Open{ID: string(id), Name: "a.bin", Type: "application/x-test", Length: &length}
}

// deadline bounds every wait of a test: nothing here takes so long.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// content is n bytes that repeat nowhere, the same for the same seed.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}

func sameBytes(t testing.TB, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes (sha-256 %x), expected %d (%x)", len(got), sum(got), len(want), sum(want))
	}
}
func hexOf(b []byte) string { return hex.EncodeToString(b) }

// zapLevel keeps the output of tests short unless WSINGEST_DEBUG is set.
func zapLevel() zapcore.Level {
	if os.Getenv("WSINGEST_DEBUG") != "" {
		return zapcore.DebugLevel
	}
	return zapcore.ErrorLevel
}
