package uppy

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// server is the middleware with a file store, the page, and an app that notes
// what it gets.
type server struct {
	t     *testing.T
	line  *line
	store *filestore.Store

	mu      sync.Mutex
	files   map[string][32]byte          // SHA-256 of what the app took, by name
	times   map[string]int               // how often it took it
	meta    map[string]map[string]string // what it was told of it
	answers map[string][]int             // statuses with which it refuses a file, one after the other
	resumed map[string]int64             // how much of a file was there when it was taken up again
	ids     []resume.ID                  // of all uploads
	open    int                          // upload connections
}

func newServer(t *testing.T) *server {
	t.Helper()
	page, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		t: t, store: store, files: map[string][32]byte{}, times: map[string]int{}, meta: map[string]map[string]string{},
		answers: map[string][]int{}, resumed: map[string]int64{},
	}
	ingest, err := middleware.New(store, middleware.Options{Routes: []string{"/upload/"}, DeliverFor: 300 * time.Millisecond, Observer: s.observe})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upload/", s.take)
	mux.HandleFunc("GET /{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mime.TypeByExtension(r.PathValue("name")[len("page"):]))
		w.Write(page[r.PathValue("name")])
	})
	mux.HandleFunc("GET /favicon.ico", http.NotFound)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css"><div id="dashboard"></div><script type="module" src="page.js"></script>`)
	})
	web := httptest.NewServer(ingest.Wrap(mux))
	s.line = newLine(t, web.Listener.Addr().String())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ingest.Shutdown(ctx)
		s.line.cut()
		web.Close()
		store.Close()
	})
	return s
}

func (s *server) observe(e middleware.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Kind {
	case middleware.Connected:
		s.open++
	case middleware.Disconnected:
		s.open--
	case middleware.Opened:
		s.ids = append(s.ids, e.ID)
	case middleware.Resumed:
		if d := e.State.Durable; len(d) > 0 && d[0].Start == 0 {
			s.resumed[e.State.Name] = d[0].End
		}
	}
}

// take is the app: it takes a file, or refuses it with the next of answers.
func (s *server) take(w http.ResponseWriter, r *http.Request) {
	file, ok := middleware.FileFrom(r)
	if !ok {
		http.Error(w, "no upload", http.StatusBadRequest)
		return
	}
	h := sha256.New()
	if _, err := io.Copy(h, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	name := file.State.Name
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if next := s.answers[name]; len(next) > 0 {
		s.answers[name] = next[1:]
		w.WriteHeader(next[0])
		json.NewEncoder(w).Encode(map[string]string{"error": "no room for " + name + " on the shelf"})
		return
	}
	s.files[name], s.meta[name] = [32]byte(h.Sum(nil)), file.State.Metadata
	s.times[name]++
	w.Header().Set("Location", "/shelf/"+name)
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(map[string]string{"shelf": name})
}

// refuse has the app answer with a status, so many times.
func (s *server) refuse(name string, status, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = nil
	for range times {
		s.answers[name] = append(s.answers[name], status)
	}
}

func (s *server) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.times[name] > 0
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// wentOn returns how much of a file the server had when it was last taken up
// again, 0 if it never was.
func (s *server) wentOn(name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed[name]
}

// cancelled returns how many uploads were begun of which the server has nothing
// any more.
func (s *server) cancelled() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.ids {
		if _, err := s.store.Stat(s.t.Context(), id); errors.Is(err, resume.ErrNotFound) {
			n++
		}
	}
	return n
}

// mustHave fails unless the app took exactly these files, each once and as it was.
func (s *server) mustHave(files map[string][]byte) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range files {
		if n := s.times[name]; n != 1 {
			s.t.Errorf("the app got %s %d times", name, n)
		} else if s.files[name] != sha256.Sum256(p) {
			s.t.Errorf("%s arrived, but is not what was sent", name)
		}
	}
	for name := range s.files {
		if _, ok := files[name]; !ok {
			s.t.Errorf("the app got %s, which should not have come", name)
		}
	}
}

// refusal is what an item says when the app refused its file.
func refusal(name string) string { return fmt.Sprintf("no room for %s on the shelf", name) }
