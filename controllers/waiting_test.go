package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// TestWhatTheTrainerWaitsForIsInTheCondition: it comes, stays as it is, and goes again, each by one write at once.
func TestWhatTheTrainerWaitsForIsInTheCondition(t *testing.T) {
	wait := &contract.Waiting{For: "s3://models/net at http://minio:9000, which does not answer:\nrefused, password: hunter2hunter2", Since: now.Time}
	const text = "; waits since 2026-11-24T12:00:00Z for s3://models/net at http://minio:9000, which does not answer: refused, password: [redacted]"
	trained := &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epochs: 20, FirstStepTime: &now.Time}
	for name, test := range map[string]struct {
		o        observation
		progress *contract.Progress
		want     string
	}{
		"before the first step": {observed(starting(1), child(1), pod(corev1.PodRunning)),
			&contract.Progress{Attempt: 1, Phase: contract.PhaseLoading}, "pod net-1-0 reads the data"},
		"while it trains": {observed(running(1), child(1), pod(corev1.PodRunning, readyPod)), trained, "pod net-1-0 trains"},
	} {
		t.Run(name, func(t *testing.T) {
			o := test.o
			step := func(waiting *contract.Waiting) (message string, changed bool) {
				o.progress = new(*test.progress)
				o.progress.Waiting = waiting
				o.progressWritten = now.Time
				d := decide(o, now.Add(time.Minute))
				changed = !sameButProgress(o.job.Status, d.status)
				o.job.Status = d.status
				return meta.FindStatusCondition(d.status.Conditions, v1.ConditionProgressing).Message, changed
			}
			step(nil)
			before := o.job.Status.State
			if got, changed := step(wait); got != test.want+text || !changed {
				t.Errorf("it waits: %q, changed %v", got, changed)
			}
			if _, changed := step(new(*wait)); changed {
				t.Error("the same wait is written again")
			}
			if got, changed := step(nil); got != test.want || !changed {
				t.Errorf("the wait is over: %q, changed %v", got, changed)
			}
			if _, changed := step(nil); changed || o.job.Status.State != before {
				t.Errorf("changed %v, state %s", changed, o.job.Status.State)
			}
		})
	}
}

func TestAWaitThatCannotBeIsCutShort(t *testing.T) {
	p := &contract.Progress{Attempt: 1, Waiting: &contract.Waiting{For: strings.Repeat("x", 10_000), Since: now.Add(time.Hour)}}
	got := waitingFor(p, newJob(), now.Time)
	if len(got) > maxWaiting+100 || !strings.HasPrefix(got, "; waits since 2026-11-24T12:00:00Z for xxx") {
		t.Errorf("%d bytes: %.60s", len(got), got)
	}
}

func TestPullerTellsOfAWaitAtOnce(t *testing.T) {
	p := newPuller(clocktesting.NewFakePassiveClock(now.Time), time.Hour)
	p.follow(team, "u", 1, "net-1-0", "http://127.0.0.1:1/") // nobody answers there
	defer p.forget(team)
	wait := contract.Waiting{For: "s3://models", Since: now.Time}
	later := contract.Waiting{For: "s3://models", Since: now.Add(time.Minute)}
	for i, step := range []struct {
		waiting *contract.Waiting
		worth   bool
	}{{nil, true}, {nil, false}, {&wait, true}, {new(wait), false}, {&later, true}, {nil, true}, {nil, false}} {
		if got := p.store(t.Context(), team, &contract.Progress{Attempt: 1, Phase: contract.PhaseLoading, Waiting: step.waiting}); got != step.worth {
			t.Errorf("answer %d: worth a reconcile: %v", i, got)
		}
	}
}
