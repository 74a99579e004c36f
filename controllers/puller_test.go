package controllers

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/resnet-operator/resnet-operator/api/contract"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

var team = types.NamespacedName{Namespace: "team", Name: "net"}

func run(uid types.UID, attempt int32) policy.Run {
	return policy.Run{UID: uid, Attempt: attempt, Epochs: 20}
}

func TestPullerTellsOfChangesOnly(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var epoch, asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_ = json.NewEncoder(w).Encode(
			contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epoch: epoch.Load(), Epochs: 20})
	}))
	defer srv.Close()
	p := newPuller(clock.RealClock{}, 5*time.Millisecond)
	defer p.http.CloseIdleConnections()
	defer p.forget(team)

	p.follow(team, run("u", 1), "net-1-0", srv.URL)
	p.follow(team, run("u", 1), "net-1-0", srv.URL) // again changes nothing
	expectChange(t, p)
	epoch.Store(1)
	expectChange(t, p)
	if got := told(p).Progress; got == nil || got.Epoch != 1 {
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

func TestPullerAsksManyLessOften(t *testing.T) {
	p := newPuller(clock.RealClock{}, 2*time.Second)
	for n, want := range map[int]time.Duration{1: 2 * time.Second, 800: 2 * time.Second, 4000: 10 * time.Second} {
		clear(p.pulled)
		for i := range n {
			p.pulled[types.NamespacedName{Name: fmt.Sprint(i)}] = &pulled{}
		}
		if got := p.pause(); got != want {
			t.Errorf("%d jobs: every %s, want %s", n, got, want)
		}
	}
}

func answers(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// The loss of an epoch under way is worth a look when it is due: of many jobs less often.
func TestPullerTellsOfALossThatIsDue(t *testing.T) {
	for jobs, interval := range map[int]time.Duration{1: 10 * time.Second, 500: 10 * time.Second, 2000: 40 * time.Second} {
		t.Run(fmt.Sprint(jobs), func(t *testing.T) {
			now := clocktesting.NewFakePassiveClock(time.Now())
			p := newPuller(now, time.Hour)
			e := &pulled{job: team, run: run("u", 1), followed: now.Now()}
			p.pulled[team] = e
			for i := range jobs - 1 {
				p.pulled[types.NamespacedName{Name: fmt.Sprint(i)}] = &pulled{}
			}
			loss := 9.0
			moves := func() bool {
				loss--
				return p.store(t.Context(), team, &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Loss: new(loss)})
			}
			if !moves() {
				t.Error("not told of the first answer")
			}
			for _, since := range []string{"it was followed", "it was written"} {
				begun := now.Now()
				for now.Since(begun) < interval-time.Second {
					now.SetTime(now.Now().Add(2 * time.Second))
					if early := now.Since(begun) < interval; early && (moves() || told(p).LossDue) {
						t.Fatalf("told of a loss %s after %s", now.Since(begun), since)
					}
				}
				now.SetTime(begun.Add(interval))
				if !moves() || !told(p).LossDue {
					t.Errorf("not told of a loss %s after %s", interval, since)
				}
				p.written(team, now.Now())
			}
		})
	}
}

func TestPullerSurvivesBadPods(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("followed a redirect")
	}))
	defer elsewhere.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		},
		"another attempt": answers(`{"attempt": 2, "phase": "Training", "epochs": 20}`),
		"another job":     answers(`{"attempt": 1, "phase": "Training", "epochs": 20, "uid": "v"}`),
		"other epochs":    answers(`{"attempt": 1, "phase": "Training", "epochs": 21}`),
		"a bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			for range 64 {
				_, _ = zip.Write(bytes.Repeat([]byte(" "), 1<<20))
			}
			_ = zip.Close()
		},
		"huge headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"too slow":     func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"garbage":      answers("not json"),
		"error":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for _, err := w.Write([]byte(`{"phase":"`)); err == nil; _, err = w.Write(make([]byte, 4096)) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(handler)
			defer srv.Close()
			p := newPuller(clock.RealClock{}, time.Hour)
			if name == "too slow" {
				p.http.Timeout = 50 * time.Millisecond
			}
			if got, err := p.pull(t.Context(), run("u", 1), srv.URL); err == nil {
				t.Errorf("took %+v for progress", got)
			}
		})
	}
}

// The address of a pod that is gone may be that of another job's by the time it is asked.
func TestPullerCountsAnswersOfOtherJobs(t *testing.T) {
	p := newTestPuller()
	for _, c := range []struct {
		answer  string
		taken   bool
		foreign float64 // by then
	}{
		{`{"uid": "u", "attempt": 1, "epochs": 20}`, true, 0},
		{`{"uid": "v", "attempt": 1, "epochs": 20}`, false, 1},
		{`{"attempt": 1, "epochs": 20}`, true, 1}, // of a trainer that is older than the field
		{`{"uid": "u", "attempt": 2, "epochs": 20}`, false, 1},
		{`{"uid": "w", "attempt": 1, "epochs": 20}`, false, 2},
	} {
		srv := httptest.NewServer(answers(c.answer))
		got, err := p.pull(t.Context(), run("u", 1), srv.URL)
		srv.Close()
		if taken := err == nil; taken != c.taken || testutil.ToFloat64(p.foreign) != c.foreign {
			t.Errorf("%s: %+v, %v, %g of others; want taken %v, %g of others",
				c.answer, got, err, testutil.ToFloat64(p.foreign), c.taken, c.foreign)
		}
	}
}

func TestPullerBelievesOnlyItsOwnAttemptGoingForward(t *testing.T) {
	start := time.Unix(1000, 0)
	fake := clocktesting.NewFakePassiveClock(start)
	p := newPuller(fake, time.Hour)
	p.follow(team, run("u", 1), "net-1-0", "http://127.0.0.1:1/") // nobody answers there
	defer p.forget(team)
	for _, c := range []struct {
		progress contract.Progress
		at       int64 // seconds since the start
		step     int64 // that is kept
		advanced int64 // seconds since the start
	}{
		{contract.Progress{Phase: contract.PhaseLoading}, 5, 0, 5},
		{contract.Progress{Phase: contract.PhaseTraining, Step: 7}, 10, 7, 10},
		{contract.Progress{Phase: contract.PhaseTraining, Step: 7}, 20, 7, 10},
		{contract.Progress{Phase: contract.PhaseEvaluating, Step: 7}, 30, 7, 30},
		{contract.Progress{Phase: contract.PhaseTraining, Step: 3}, 40, 7, 30},
		{contract.Progress{Phase: contract.PhaseTraining, Step: 8, Epoch: 1}, 50, 8, 50},
		{contract.Progress{Phase: contract.PhaseTraining, Step: 9}, 60, 8, 50},
	} {
		fake.SetTime(start.Add(time.Duration(c.at) * time.Second))
		p.store(t.Context(), team, &c.progress)
		o := told(p)
		if o.Progress.Step != c.step || !o.Advanced.Equal(start.Add(time.Duration(c.advanced)*time.Second)) {
			t.Errorf("after %+v at %d s: step %d, advanced at %s", c.progress, c.at, o.Progress.Step, o.Advanced.Sub(start))
		}
	}
	p.follow(team, run("u", 2), "net-1-0", "http://127.0.0.1:1/") // the same address, the next attempt
	if o := told(p); o.Progress != nil || !o.Advanced.IsZero() {
		t.Errorf("attempt 1 is told %+v of attempt 2", o.Progress)
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
	p.follow(team, run("u", 1), "net-1-0", srv.URL)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Start(ctx); err != nil {
		t.Error(err)
	}
}

func told(p *puller) policy.Observation {
	o := policy.Observation{Job: NewJob(), Attempt: 1}
	o.Job.UID = "u"
	p.observe(&o)
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

// A job that is deleted while it trains is asked no more, and its metrics are gone; so are those of a job that another
// one of its name replaces before anybody looked.
func TestADeletedJobIsForgotten(t *testing.T) {
	scheme := Options{}.manager().Scheme
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).Build(), Clock: clock.RealClock{},
		puller: newTestPuller()}
	r.puller.follow(team, run("u-1", 1), "net-1-0", "http://127.0.0.1:1/")
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: team}); err != nil {
		t.Fatal(err)
	}
	if left := r.puller.snapshot(); len(left) > 0 {
		t.Errorf("the pod of a deleted job is asked still: %+v", left)
	}

	r.puller.follow(team, run("u-1", 1), "net-1-0", "http://127.0.0.1:1/")
	r.puller.follow(team, run("u-2", 1), "net-1-0", "http://127.0.0.1:1/")
	defer r.puller.forget(team)
	elected := make(chan struct{})
	close(elected)
	registry := prometheus.NewRegistry()
	registry.MustRegister(&jobsCollector{reader: r.Client, puller: r.puller, elected: elected})
	gather(t, registry)
	o := policy.Observation{Job: NewJob(), Attempt: 1}
	if r.puller.observe(&o); !o.Advanced.IsZero() {
		t.Error("the first job is told of the second one's pod")
	}
}

func TestPullerTellsOfAWaitAtOnce(t *testing.T) {
	p := newPuller(clocktesting.NewFakePassiveClock(Now.Time), time.Hour)
	p.follow(team, run("u", 1), "net-1-0", "http://127.0.0.1:1/") // nobody answers there
	defer p.forget(team)
	wait := contract.Waiting{For: "s3://models", Since: Now.Time}
	later := contract.Waiting{For: "s3://models", Since: Now.Add(time.Minute)}
	for i, step := range []struct {
		waiting *contract.Waiting
		worth   bool
	}{{nil, true}, {nil, false}, {&wait, true}, {new(wait), false}, {&later, true}, {nil, true}, {nil, false}} {
		if got := p.store(t.Context(), team,
			&contract.Progress{Attempt: 1, Phase: contract.PhaseLoading, Waiting: step.waiting}); got != step.worth {
			t.Errorf("answer %d: worth a reconcile: %v", i, got)
		}
	}
}
