package situations

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/filestore"
)

// ours is the middleware with a file store, and an app behind it that compares
// what it gets with what was sent.
type ours struct {
	size int64
	http *httptest.Server

	mu    sync.Mutex
	files []error // of each file delivered: what is wrong with it
	died  []time.Time
}

func newOurs(t testing.TB, k middleware.Keepalive, size int64, disk *disk, log *zap.Logger) *ours {
	store, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &ours{size: size}
	ingest, err := middleware.New(&stallStore{store, disk}, middleware.Options{Keepalive: k, Logger: log, Observer: s.observe})
	if err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewServer(ingest.Wrap(http.HandlerFunc(s.app)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ingest.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		s.http.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *ours) address() string { return s.http.Listener.Addr().String() }

func (s *ours) observe(e middleware.Event) {
	if e.Kind == middleware.Died {
		s.mu.Lock()
		s.died = append(s.died, time.Now())
		s.mu.Unlock()
	}
}

// app is the handler behind the middleware.
func (s *ours) app(w http.ResponseWriter, r *http.Request) {
	err := theContent.same(r.Body, s.size)
	s.mu.Lock()
	s.files = append(s.files, err)
	s.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

func (s *ours) intact() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) != 1 {
		return fmt.Errorf("%d files were delivered", len(s.files))
	}
	return s.files[0]
}

func (s *ours) noticed() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.died) == 0 {
		return time.Time{}, false
	}
	return s.died[0], true
}
