package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/examples/browser"
	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// stopWithin bounds how long a stop waits for what is under way.
const stopWithin = 10 * time.Second

//go:embed page
var embedded embed.FS

// server is the page, the uploads and the finished files behind one address.
type server struct {
	http   *http.Server
	ingest *middleware.Ingest
	store  *filestore.Store
	files  *os.Root
	log    *zap.Logger
}

func newServer(c config, log *zap.Logger) (*server, error) {
	s := &server{log: log}
	if err := s.open(c); err != nil {
		s.close()
		return nil, err
	}
	s.http = &http.Server{
		Handler:           s.ingest.Wrap(s.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          zap.NewStdLog(log),
	}
	return s, nil
}

// open sets up the directories and what works on them.
func (s *server) open(c config) (err error) {
	finished := filepath.Join(c.dir, "files")
	if err := makeWritable(finished); err != nil {
		return err
	}
	if s.files, err = os.OpenRoot(finished); err != nil {
		return err
	}
	incoming := filepath.Join(c.dir, "incoming")
	// The middleware logs what becomes of an upload; once is enough.
	quiet := s.log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	s.store, err = filestore.New(incoming, filestore.Options{Logger: quiet})
	switch {
	case errors.Is(err, filestore.ErrInUse):
		return fmt.Errorf("%s is in use by another quickstart: stop that one, or choose another directory with -dir", c.dir)
	case err != nil:
		return fmt.Errorf("%s cannot be used for uploads: %w: choose another directory with -dir", c.dir, err)
	}
	s.ingest, err = middleware.New(s.store, middleware.Options{
		Routes:    []string{"/upload/"},
		MaxSize:   c.maxSize,
		Keepalive: c.keepalive,
		Publish:   &middleware.Publish{Dir: finished, OnConflict: resume.ConflictRename},
		Logger:    s.log,
		Observer:  observe(s.log),
	})
	return err
}

// makeWritable creates dir and finds out now, not at the end of the first
// upload, whether files can be put there.
func makeWritable(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".probe-*"); err == nil {
			probe.Close()
			err = os.Remove(probe.Name())
		}
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written to: %w: choose another directory with -dir", dir, err)
	}
	return nil
}

func (s *server) routes() http.Handler {
	page, err := fs.Sub(embedded, "page")
	if err != nil {
		panic(err) // the path is a constant
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", servePage(page))
	mux.Handle("GET /wsingest/", http.StripPrefix("/wsingest", servePage(browser.Modules)))
	mux.Handle("GET /files/", finished{s.files, s.log})
	mux.HandleFunc("GET /upload/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "Uploads come here over WebSocket: see README.md of this example.", http.StatusUpgradeRequired)
	})
	return mux
}

// servePage lets the page run nothing but its own scripts, and talk to nobody
// but this server.
func servePage(page fs.FS) http.Handler {
	files := http.FileServerFS(page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guard(w.Header(), "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-cache") // embedded files have no date to compare
		files.ServeHTTP(w, r)
	})
}

func guard(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
}

// serve answers on l until ctx ends, and returns when nothing is under way any
// more.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() { stopped <- s.stop() })()
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// stop tells clients to come back later, and makes durable what was received.
func (s *server) stop() error {
	s.log.Info("stopping: uploads go on when the server is back")
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	// Side by side: http.Server knows nothing of the upload connections, and a
	// slow download must not use up their time.
	drained := make(chan error, 1)
	go func() { drained <- s.ingest.Shutdown(ctx) }()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close() // downloads that are not done by now
	}
	return errors.Join(err, <-drained)
}

func (s *server) close() (err error) {
	if s.store != nil {
		err = s.store.Close()
	}
	if s.files != nil {
		s.files.Close()
	}
	return err
}
