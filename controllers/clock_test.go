package controllers

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"

	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// A pod that was evicted just Now, and saves its checkpoint, is not lost, whatever the clock of the manager says.
func TestTheClockOfTheManagerMayBeWrong(t *testing.T) {
	there := Now.Time
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", there.UTC().Format(http.TimeFormat))
	}))
	defer srv.Close()
	for name, off := range map[string]time.Duration{
		"ahead": 130 * time.Second, "behind": -time.Hour, "right": 0, "nearly right": time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			own := clocktesting.NewFakePassiveClock(there.Add(off))
			c := &serverClock{own: own}
			o := Options{clock: c}
			ask(t, o.limit(&rest.Config{Host: srv.URL}))
			if got := c.Now().Sub(there); got.Abs() > 2*time.Second {
				t.Fatalf("the time is %s off", got)
			}
			leaves := Pod(corev1.PodRunning, ReadyPod, Disrupted("EvictionByEvictionAPI"), DeletedPod(120*time.Second))
			d := policy.Decide(observed(Running(1), Child(1), leaves), c.Now())
			if d.Status.Disruptions != 0 || len(d.Delete) > 0 {
				t.Errorf("a pod that saves is taken for lost: %+v", d.Status)
			}
			own.SetTime(there.Add(off + 123*time.Second)) // time passes there and here
			if d := policy.Decide(observed(Running(1), Child(1), leaves), c.Now()); d.Status.Disruptions != 1 {
				t.Error("a pod whose grace is over is waited for")
			}
		})
	}
}

// An answer that took long says little of the time; one without a Date, nothing.
func TestOnlyPromptAnswersTellTheTime(t *testing.T) {
	c := &serverClock{own: clocktesting.NewFakePassiveClock(Now.Time)}
	date := Now.Add(time.Hour).UTC().Format(http.TimeFormat)
	c.learn(date, Now.Time, Now.Add(2*time.Second))
	c.learn("", Now.Time, Now.Time)
	c.learn("soon", Now.Time, Now.Time)
	if got := c.Since(Now.Time); got != 0 {
		t.Errorf("the clock was set by %s", got)
	}
}

func ask(t *testing.T, cfg *rest.Config) {
	t.Helper()
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
