package controllers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

var team = types.NamespacedName{Namespace: "team", Name: "net"}

func TestPullerTellsOfChangesOnly(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var epoch, asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_ = json.NewEncoder(w).Encode(contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epoch: epoch.Load()})
	}))
	defer srv.Close()
	p := newPuller(clock.RealClock{}, 5*time.Millisecond)
	defer p.http.CloseIdleConnections()
	defer p.forget("u")

	p.follow("u", team, 1, srv.URL)
	p.follow("u", team, 1, srv.URL) // again changes nothing
	expectChange(t, p)
	epoch.Store(1)
	expectChange(t, p)
	if got := told(p).progress; got == nil || got.Epoch != 1 {
		t.Errorf("last progress is %+v, want epoch 1", got)
	}
	for n := asked.Load(); asked.Load() < n+3; {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-p.changes:
		t.Error("told of a change where there was none")
	default:
	}
}

func TestPullerSurvivesBadPods(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	defer elsewhere.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"garbage":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("not json")) },
		"error":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for _, err := w.Write([]byte(`{"phase":"`)); err == nil; _, err = w.Write(make([]byte, 4096)) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(handler)
			defer srv.Close()
			if got, err := newPuller(clock.RealClock{}, time.Hour).pull(t.Context(), 1, srv.URL); err == nil {
				t.Errorf("took %+v for progress", got)
			}
		})
	}
}

func TestPullerStopsWithTheManager(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	p := newPuller(clock.RealClock{}, time.Millisecond)
	defer p.http.CloseIdleConnections()
	p.follow("u", team, 1, srv.URL)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Start(ctx); err != nil {
		t.Error(err)
	}
}

func told(p *puller) observation {
	o := observation{job: newJob(), attempt: 1}
	o.job.UID = "u"
	p.tell(&o)
	return o
}

func expectChange(t *testing.T, p *puller) {
	t.Helper()
	select {
	case e := <-p.changes:
		if e.Object != team {
			t.Errorf("told of %s, want %s", e.Object, team)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("not told of a change")
	}
}
