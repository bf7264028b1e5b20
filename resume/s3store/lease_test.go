package s3store

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// TestALeaseIsOverWithItsNode: while one node has an upload no other delivers
// it; when that gives it up at once, when it dies after a while.
func TestALeaseIsOverWithItsNode(t *testing.T) {
	nodes, _ := publishers(t, 2)
	a, b := nodes[0], nodes[1]
	a.leaseFor = time.Second
	id := complete(t, a, []byte("abc"))
	var leased *resume.LeasedError
	if _, err := b.Lease(t.Context(), id); !errors.As(err, &leased) {
		t.Fatalf("the other node has it as well: %v", err)
	}
	// The one that finished it says nothing any more.
	<-time.After(time.Until(leased.Until) + 50*time.Millisecond)
	release, err := b.Lease(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Lease(t.Context(), id); !errors.As(err, &leased) {
		t.Fatalf("both have it: %v", err)
	}
	release()
	again, err := a.Lease(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * a.leaseFor / 2) // it is renewed meanwhile
	if _, err := b.Lease(t.Context(), id); !errors.As(err, &leased) {
		t.Fatalf("the lease of one that lives ended: %v", err)
	}
	if err := a.Settle(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	again()
	if st, err := b.Stat(t.Context(), id); err != nil || st.Phase != resume.Delivered {
		t.Errorf("phase %s, %v", st.Phase, err)
	}
}

// looks counts the requests for records.
type looks struct {
	http.RoundTripper
	n atomic.Int64
}

func (l *looks) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/records/") {
		l.n.Add(1)
	}
	return l.RoundTripper.RoundTrip(r)
}

// TestNodesDoNotDeliverTheSameUploadAtATime: a node that starts meanwhile finds
// it in the bucket, and a client that comes to that node opens it. Both wait for
// what the app says to the first.
func TestNodesDoNotDeliverTheSameUploadAtATime(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	entered, answer := make(chan struct{}, 10), make(chan struct{})
	app := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-answer
	})
	start := func(transport http.RoundTripper) (url string) {
		s, err := New(Options{
			Endpoint: server.Endpoint, Bucket: "uploads", Insecure: true, ScanInterval: Never, Transport: transport,
			Credentials: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""),
		})
		if err != nil {
			t.Fatal(err)
		}
		ingest, err := middleware.New(s, middleware.Options{})
		if err != nil {
			t.Fatal(err)
		}
		web := httptest.NewServer(ingest.Wrap(app))
		t.Cleanup(func() {
			bound, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := ingest.Shutdown(bound); err != nil {
				t.Error(err)
			}
			web.Close()
			s.Close()
		})
		return web.URL + "/upload/"
	}
	data := []byte("abc")
	source := func(id resume.ID) *client.Source {
		src := client.FromReaderAt(bytes.NewReader(data), int64(len(data)))
		src.ID = string(id)
		return src
	}
	id := resume.NewID()
	errs := make([]error, 2)
	var clients sync.WaitGroup
	send := func(i int, url string) {
		clients.Go(func() { _, errs[i] = client.Upload(t.Context(), url, source(id), client.Options{}) })
	}
	send(0, start(nil))
	<-entered
	other := &looks{RoundTripper: http.DefaultTransport}
	send(1, start(other))
	for deadline := time.Now().Add(30 * time.Second); other.n.Load() < 8; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the other node looked %d times only", other.n.Load())
		}
	}
	close(answer)
	clients.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := len(entered); n > 0 {
		t.Errorf("the app was asked %d times more", n)
	}
}
