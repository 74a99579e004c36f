package policy

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// TestWhatTheTrainerWaitsForIsInTheCondition: it comes, stays as it is, and goes again, each by one write at once.
func TestWhatTheTrainerWaitsForIsInTheCondition(t *testing.T) {
	wait := &contract.Waiting{
		For:   "s3://models/net at http://minio:9000, which does not answer:\nrefused, password: hunter2hunter2",
		Since: Now.Time}
	const text = "; waits since 2026-11-24T12:00:00Z for s3://models/net at http://minio:9000, which does not answer: " +
		"refused, password: [redacted]"
	trained := &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epochs: 20, FirstStepTime: &Now.Time}
	for name, test := range map[string]struct {
		o        Observation
		progress *contract.Progress
		want     string
	}{
		"before the first step": {observed(Starting(1), Child(1), Pod(corev1.PodRunning)),
			&contract.Progress{Attempt: 1, Phase: contract.PhaseLoading}, "pod net-1-0 reads the data"},
		"while it trains": {observed(Running(1), Child(1), Pod(corev1.PodRunning, ReadyPod)), trained, "pod net-1-0 trains"},
	} {
		t.Run(name, func(t *testing.T) {
			o := test.o
			step := func(waiting *contract.Waiting) (message string, changed bool) {
				o.Progress = new(*test.progress)
				o.Progress.Waiting = waiting
				o.ProgressWritten = Now.Time
				d := Decide(o, Now.Add(time.Minute))
				changed = !sameButProgress(o.Job.Status, d.Status)
				o.Job.Status = d.Status
				return meta.FindStatusCondition(d.Status.Conditions, v1.ConditionProgressing).Message, changed
			}
			step(nil)
			before := o.Job.Status.State
			if got, changed := step(wait); got != test.want+text || !changed {
				t.Errorf("it waits: %q, changed %v", got, changed)
			}
			if _, changed := step(new(*wait)); changed {
				t.Error("the same wait is written again")
			}
			if got, changed := step(nil); got != test.want || !changed {
				t.Errorf("the wait is over: %q, changed %v", got, changed)
			}
			if _, changed := step(nil); changed || o.Job.Status.State != before {
				t.Errorf("changed %v, state %s", changed, o.Job.Status.State)
			}
		})
	}
}

func TestAWaitThatCannotBeIsCutShort(t *testing.T) {
	p := &contract.Progress{Attempt: 1,
		Waiting: &contract.Waiting{For: strings.Repeat("x", 10_000), Since: Now.Add(time.Hour)}}
	got := waitingFor(p, NewJob(), Now.Time)
	if len(got) > maxWaiting+100 || !strings.HasPrefix(got, "; waits since 2026-11-24T12:00:00Z for xxx") {
		t.Errorf("%d bytes: %.60s", len(got), got)
	}
}
