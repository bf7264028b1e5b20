package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

func serve(ctx context.Context, l net.Listener, dir string, app http.Handler) error {
	store, err := filestore.New(dir, filestore.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	ingest, err := middleware.New(store, middleware.Options{Routes: []string{"/upload/"}})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: ingest.Wrap(app)}
	ended := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		bound, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err := ingest.Shutdown(bound) // first: it tells the clients where they stand
		ended <- errors.Join(err, server.Shutdown(bound))
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended // Serve returns when Shutdown begins
}

// An app that takes a POST and knows nothing of WebSockets gets resumable
// uploads.
func Example() {
	dir, err := os.MkdirTemp("", "uploads")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	app := http.NewServeMux()
	app.HandleFunc("POST /upload/{album}", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%d bytes for album %s", n, r.PathValue("album"))
	})
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- serve(ctx, l, dir, app) }()

	photo := strings.NewReader("pretend that this is a photo")
	done, err := client.Upload(ctx, "ws://"+l.Addr().String()+"/upload/holiday",
		&client.Source{ReaderAt: photo, Size: photo.Size(), Name: "photo.jpg"}, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Response.Status, done.Response.Body)
	stop()
	fmt.Println(<-served)
	// Output:
	// 201 28 bytes for album holiday
	// <nil>
}
