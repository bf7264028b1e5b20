// Package metrics counts what happens to uploads, for Prometheus.
//
//	observer := metrics.New()
//	prometheus.MustRegister(observer)
//	store, err := filestore.New(dir, filestore.Options{OnCommit: observer.Commit})
//	ingest, err := middleware.New(store, middleware.Options{Observer: observer.Observe})
//	observer.Watch(ingest)
//	observer.WatchStore(dir, store)
//
// An observer may be given to any number of engines; they are counted together.
// The values of its labels are few, and none is a client's to choose.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsingest/wsingest/middleware"
)

// Observer is a prometheus.Collector. Use New.
type Observer struct {
	connected   *prometheus.GaugeVec
	connections *prometheus.CounterVec
	dead        *prometheus.CounterVec
	refused     prometheus.Counter
	uploads     *prometheus.CounterVec
	errors      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	size        prometheus.Histogram
	delivery    prometheus.Histogram
	attempts    *prometheus.CounterVec
	lag         prometheus.Histogram
	commit      prometheus.Histogram
	watched     watched
}

// New returns an observer that has seen nothing yet.
func New() *Observer {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "wsingest", Name: name, Help: help}
	}
	o := &Observer{
		connected:   prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("connections", "Upload connections now.")), []string{"mode"}),
		connections: prometheus.NewCounterVec(opts("connections_total", "Upload connections that were made."), []string{"mode"}),
		dead:        prometheus.NewCounterVec(opts("dead_connections_total", "Connections cut because nothing was heard of the client, or too little."), []string{"cause"}),
		refused:     prometheus.NewCounter(opts("refused_upgrades_total", "Requests that were refused before the upgrade.")),
		uploads:     prometheus.NewCounterVec(opts("uploads_total", "What happened to uploads."), []string{"event"}),
		errors:      prometheus.NewCounterVec(opts("errors_total", "Errors that were told to clients."), []string{"code"}),
		bytes:       prometheus.NewCounterVec(opts("received_bytes_total", "Bytes of file data taken in, counted when their connection ends."), []string{"mode"}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "wsingest", Name: "upload_size_bytes",
			Help: "Length of complete uploads.", Buckets: prometheus.ExponentialBuckets(64<<10, 8, 8)}), // 64 KiB to 128 GiB
		delivery: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "wsingest", Name: "delivery_seconds",
			Help: "Time from a complete upload to the answer of who took it, retries included.", Buckets: prometheus.ExponentialBuckets(0.001, 5, 9)}), // 1 ms to 6 min
		attempts: prometheus.NewCounterVec(opts("delivery_attempts_total", "Tries to deliver an upload, by what came of them."), []string{"outcome"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "wsingest", Name: "ack_lag_seconds",
			Help: "Time from bytes taken in to bytes on stable storage, of uploads that go on; a sample now and then.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}), // 1 ms to 16 s
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "wsingest", Name: "commit_seconds",
			Help: "Time of a trip to the disk that makes bytes durable, of stores on a disk.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 9)}), // 1 ms to 7 s
	}
	for _, cause := range []middleware.Cause{middleware.CauseSilent, middleware.CauseTrickling} {
		o.dead.WithLabelValues(string(cause))
	}
	for _, outcome := range outcomes {
		o.attempts.WithLabelValues(string(outcome))
	}
	for _, mode := range []string{full, plain} {
		o.connected.WithLabelValues(mode)
		o.connections.WithLabelValues(mode)
		o.bytes.WithLabelValues(mode)
	}
	for _, kind := range uploadEvents {
		o.uploads.WithLabelValues(string(kind))
	}
	return o
}

const (
	full  = "full"  // speaks the subprotocol
	plain = "plain" // any WebSocket client
)

var uploadEvents = []middleware.EventKind{
	middleware.Opened, middleware.Resumed, middleware.Completed, middleware.Delivered, middleware.Rejected,
}

var outcomes = []middleware.Outcome{middleware.OutcomeTaken, middleware.OutcomeRefused, middleware.OutcomeFailed, middleware.OutcomeUnconfirmed}

// Commit is for filestore.Options.OnCommit.
func (o *Observer) Commit(took time.Duration) { o.commit.Observe(took.Seconds()) }

// Observe is for middleware.Options.Observer.
func (o *Observer) Observe(e middleware.Event) {
	mode := full
	if e.Plain {
		mode = plain
	}
	switch e.Kind {
	case middleware.Connected:
		o.connected.WithLabelValues(mode).Inc()
		o.connections.WithLabelValues(mode).Inc()
	case middleware.Disconnected:
		o.connected.WithLabelValues(mode).Dec()
		o.bytes.WithLabelValues(mode).Add(float64(e.Bytes))
	case middleware.Died:
		o.dead.WithLabelValues(string(e.Cause)).Inc()
	case middleware.Refused:
		o.refused.Inc()
	case middleware.Failed:
		o.errors.WithLabelValues(string(e.Code)).Inc()
	case middleware.Completed:
		o.size.Observe(float64(e.Bytes))
		o.uploads.WithLabelValues(string(e.Kind)).Inc()
	case middleware.Durable:
		o.lag.Observe(e.Duration.Seconds())
	case middleware.Attempted:
		o.attempts.WithLabelValues(string(e.Outcome)).Inc()
	case middleware.Delivered:
		o.delivery.Observe(e.Duration.Seconds())
		o.uploads.WithLabelValues(string(e.Kind)).Inc()
	case middleware.Opened, middleware.Resumed, middleware.Rejected:
		o.uploads.WithLabelValues(string(e.Kind)).Inc()
	}
}

func (o *Observer) collectors() []prometheus.Collector {
	return []prometheus.Collector{o.connected, o.connections, o.dead, o.refused, o.uploads, o.errors, o.bytes, o.size, o.delivery,
		o.attempts, o.lag, o.commit, &o.watched}
}

// Describe implements prometheus.Collector.
func (o *Observer) Describe(to chan<- *prometheus.Desc) {
	for _, c := range o.collectors() {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (o *Observer) Collect(to chan<- prometheus.Metric) {
	for _, c := range o.collectors() {
		c.Collect(to)
	}
}
