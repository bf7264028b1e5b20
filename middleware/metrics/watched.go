package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
)

// watched is what is not counted as it happens, but looked at when somebody asks.
type watched struct {
	mu      sync.Mutex
	engines map[*middleware.Ingest]bool
	stores  map[string]resume.FreeSpace
}

var (
	memory = prometheus.NewDesc("wsingest_memory_bytes", "Memory for file data on its way to the store that is given out.", nil, nil)
	limit  = prometheus.NewDesc("wsingest_memory_limit_bytes", "How much of it there is.", nil, nil)
	free   = prometheus.NewDesc("wsingest_free_bytes", "Free space where uploads are kept.", []string{"store"}, nil)
)

// Watch adds the memory of an engine to what is told, until stop is called.
func (o *Observer) Watch(in *middleware.Ingest) (stop func()) {
	w := &o.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engines == nil {
		w.engines = make(map[*middleware.Ingest]bool)
	}
	w.engines[in] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.engines, in)
	}
}

// WatchStore has the free space of a store told, under a name of the operator's,
// until stop is called. Of a store that is no resume.FreeSpace nothing is told.
func (o *Observer) WatchStore(name string, s resume.Store) (stop func()) {
	space, ok := s.(resume.FreeSpace)
	if !ok {
		return func() {}
	}
	w := &o.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stores == nil {
		w.stores = make(map[string]resume.FreeSpace)
	}
	w.stores[name] = space
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.stores[name] == space {
			delete(w.stores, name)
		}
	}
}

// Describe implements prometheus.Collector.
func (w *watched) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{memory, limit, free} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (w *watched) Collect(to chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var given, all int64
	for in := range w.engines {
		g, a := in.Memory()
		given, all = given+g, all+a
	}
	to <- prometheus.MustNewConstMetric(memory, prometheus.GaugeValue, float64(given))
	to <- prometheus.MustNewConstMetric(limit, prometheus.GaugeValue, float64(all))
	for name, s := range w.stores {
		if bytes, known := s.Free(); known {
			to <- prometheus.MustNewConstMetric(free, prometheus.GaugeValue, float64(bytes), name)
		}
	}
}
