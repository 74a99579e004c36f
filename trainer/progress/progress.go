// Package progress holds how far a run is and serves it: JSON for the manager, metrics for Prometheus.
package progress

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// Tracker holds the progress of a run. It is safe for concurrent use.
type Tracker struct {
	mu       sync.Mutex
	progress contract.Progress
}

// NewTracker begins with p.
func NewTracker(p contract.Progress) *Tracker { return &Tracker{progress: p} }

// Update changes the progress. Pointers in it are replaced, never written through.
func (t *Tracker) Update(change func(p *contract.Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.progress)
}

// Snapshot returns a copy. Numbers that are not finite are left out, since JSON has none.
func (t *Tracker) Snapshot() contract.Progress {
	t.mu.Lock()
	p := t.progress
	t.mu.Unlock()
	for _, f := range []*float64{&p.LR, &p.ImagesPerSecond, &p.ETASeconds} {
		if !finite(*f) {
			*f = 0
		}
	}
	for _, f := range []**float64{&p.Loss, &p.Accuracy, &p.BestAccuracy} {
		if *f != nil && !finite(**f) {
			*f = nil
		}
	}
	return p
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// Handler serves the paths of package contract.
func (t *Tracker) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{t}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET "+contract.MetricsPath, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET "+contract.ProgressPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(t.Snapshot())
	})
	mux.HandleFunc("GET "+contract.HealthPath, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET "+contract.ReadyPath, func(w http.ResponseWriter, _ *http.Request) {
		if t.Snapshot().FirstStepTime == nil {
			http.Error(w, "no step done yet", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	return mux
}
