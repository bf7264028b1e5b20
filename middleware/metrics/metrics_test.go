package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/metrics"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

// scrape returns the lines that Prometheus would read.
func scrape(t *testing.T, o *metrics.Observer) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(o); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(w.Body.String()) {
		var value float64
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := fmt.Sscan(number, &value); err == nil && name != "#" {
			values[name] = value
		}
	}
	return values
}

// Uploads to an app that is down at first, and to one that refuses, show in
// every metric that tells of the way from the socket to the app; a store and an
// engine that are gone are told of no more.
func TestTheWayOfAnUploadIsMeasured(t *testing.T) {
	observer := metrics.New()
	dir := t.TempDir()
	store, err := filestore.New(dir, filestore.Options{OnCommit: observer.Commit, SyncInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	answers := make(chan int, 4)
	for _, status := range []int{503, 503, 201, 422} {
		answers <- status
	}
	ingest, err := middleware.New(store, middleware.Options{Memory: 8 << 20, Observer: observer.Observe})
	if err != nil {
		t.Fatal(err)
	}
	defer ingest.Shutdown(t.Context())
	server := httptest.NewServer(ingest.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(<-answers)
	})))
	defer server.Close()
	stopEngine, stopStore := observer.Watch(ingest), observer.WatchStore("uploads", store)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range 2 {
		// Slowly, so that some of it is durable while the rest is being sent.
		body := slow{strings.NewReader(strings.Repeat("x", 1<<20))}
		_, err := client.Upload(ctx, server.URL, client.FromReader(body, client.UnknownSize), client.Options{})
		if (err == nil) != (i == 0) {
			t.Fatalf("upload %d: %v", i, err)
		}
	}
	got := scrape(t, observer)
	for name, want := range map[string]float64{
		`wsingest_delivery_attempts_total{outcome="failed"}`:      2,
		`wsingest_delivery_attempts_total{outcome="taken"}`:       1,
		`wsingest_delivery_attempts_total{outcome="refused"}`:     1,
		`wsingest_delivery_attempts_total{outcome="unconfirmed"}`: 0,
		`wsingest_memory_limit_bytes`:                             8 << 20,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, expected %v", name, v, want)
		}
	}
	for _, name := range []string{"wsingest_commit_seconds_count", "wsingest_ack_lag_seconds_count", `wsingest_free_bytes{store="uploads"}`} {
		if got[name] < 1 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if lag := got["wsingest_ack_lag_seconds_sum"] / got["wsingest_ack_lag_seconds_count"]; lag <= 0 || lag > 10 {
		t.Errorf("bytes were durable after %v s", lag)
	}
	stopEngine()
	stopStore()
	got = scrape(t, observer)
	if _, there := got[`wsingest_free_bytes{store="uploads"}`]; there || got["wsingest_memory_limit_bytes"] != 0 {
		t.Errorf("what is gone is told of: %v", got)
	}
}

// slow gives out a sixteenth at a time.
type slow struct{ io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return s.Reader.Read(p[:min(len(p), 64<<10)])
}
