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
	history  contract.History
}

// NewTracker begins with p.
func NewTracker(p contract.Progress) *Tracker {
	return &Tracker{progress: p, history: contract.History{Steps: []contract.StepMetrics{}, Epochs: []contract.EpochMetrics{}}}
}

// Update changes the progress. Pointers in it are replaced, never written through.
func (t *Tracker) Update(change func(p *contract.Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.progress)
}

// SetHistory is what is served as the history from now on. Its slices must not change any more.
func (t *Tracker) SetHistory(steps []contract.StepMetrics, epochs []contract.EpochMetrics) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.history.Steps, t.history.Epochs = steps, epochs
}

// History returns the curves of the run so far; empty ones above rank 0.
func (t *Tracker) History() contract.History {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.history
	h.UID, h.Attempt = t.progress.UID, t.progress.Attempt
	return h
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
	serveJSON := func(path string, value func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(value())
		})
	}
	serveJSON(contract.ProgressPath, func() any { return t.Snapshot() })
	serveJSON(contract.HistoryPath, func() any { return t.History() })
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
