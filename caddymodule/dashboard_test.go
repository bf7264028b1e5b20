package caddymodule

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/metrics"
)

// described returns the metrics there are.
func described() map[string]bool {
	to := make(chan *prometheus.Desc, 100)
	metrics.New().Describe(to)
	close(to)
	names := map[string]bool{}
	for d := range to {
		names[regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

// TestDashboardShowsEveryMetric, and no other: a panel with a name that is
// misspelt stays empty, and nobody is told.
func TestDashboardShowsEveryMetric(t *testing.T) {
	b, err := os.ReadFile("../examples/caddy/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	names, shown := described(), map[string]bool{}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			for _, name := range regexp.MustCompile(`\bwsingest_[a-z_]+`).FindAllString(target.Expr, -1) {
				name = strings.TrimSuffix(name, "_bucket")
				if !names[name] {
					t.Errorf("the panel %q shows %s, which is no metric", panel.Title, name)
				}
				shown[name] = true
			}
			for _, m := range regexp.MustCompile(`event="([^"]*)"`).FindAllStringSubmatch(target.Expr, -1) {
				switch kind := middleware.EventKind(m[1]); kind {
				case middleware.Completed, middleware.Delivered, middleware.Rejected:
				default:
					t.Errorf("the panel %q shows the event %q, which is none", panel.Title, kind)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}
