package caddymodule

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsingest/wsingest/middleware/metrics"
)

// counted counts what happens on every route, from the start of the process:
// its counters outlive configs, while Caddy's registry is new with each.
var counted = metrics.New()

// registerMetrics puts the counters into the registry of a config, in which
// another handler may have put them already.
func registerMetrics(registry *prometheus.Registry) error {
	err := registry.Register(counted)
	if errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		return nil
	}
	return err
}
