package s3store_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/s3store"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// partsInFlight is how many parts of an upload are on their way at a time: it has
// four in memory, of which one is being filled.
const partsInFlight = 3

// BenchmarkOneNode is an upload the whole way, from the Go client over a socket
// through the middleware into a bucket, until the app has answered. It takes
// turns with minio-go, which puts the same bytes there from memory, with parts of
// the same size and as many at a time: ratio compares the two. All of it shares
// the cores of one machine.
func BenchmarkOneNode(b *testing.B) {
	const size = 256 << 20
	server := s3test.Start(b)
	server.Bucket(b, "uploads")
	o := options(server, "")
	o.PartSize, o.SyncInterval = 8<<20, 2*time.Second
	s, err := s3store.New(o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	url := serve(b, s, middleware.Options{})
	data := random(1, size)
	direct := server.Client(b)

	var ours, theirs time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := client.Upload(b.Context(), url, client.FromReaderAt(bytes.NewReader(data), size), client.Options{}); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)

		began = time.Now()
		_, err := direct.PutObject(b.Context(), "uploads", "direct", bytes.NewReader(data), size,
			minio.PutObjectOptions{PartSize: uint64(o.PartSize), NumThreads: partsInFlight})
		if err != nil {
			b.Fatal(err)
		}
		theirs += time.Since(began)
	}
	mbs := func(d time.Duration) float64 { return float64(b.N) * size / 1e6 / d.Seconds() }
	b.ReportMetric(mbs(ours), "node-MB/s")
	b.ReportMetric(mbs(theirs), "minio-go-MB/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op") // of both together says nothing
}

// serve serves uploads, with an app that takes every file and reads none.
func serve(t testing.TB, s *s3store.Store, o middleware.Options) (url string) {
	t.Helper()
	ingest, err := middleware.New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(ingest.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	t.Cleanup(func() {
		bound, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ingest.Shutdown(bound); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return web.URL + "/upload/"
}
