package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

func TestTimeToLive(t *testing.T) {
	keep := func(n int32) func(*v1.ResNetTrainingJobSpec) {
		return func(s *v1.ResNetTrainingJobSpec) { s.TTLSecondsAfterFinished = &n }
	}
	finished := func() *v1.ResNetTrainingJob { // ten seconds ago
		job := succeeded(1)
		job.Status.CompletionTime = ptr.To(after(-10 * time.Second))
		return job
	}
	for name, c := range map[string]struct {
		o       observation
		delete  bool
		requeue time.Duration
	}{
		"no limit":            {observed(finished()), false, 0},
		"before it":           {observed(with(finished(), keep(30))), false, 20 * time.Second},
		"at it":               {observed(with(finished(), keep(10))), true, 0},
		"a job that runs":     {observed(with(running(1), keep(0)), child(1), pod(corev1.PodRunning, readyPod)), false, 0},
		"the end is recorded": {observed(with(running(1), keep(0)), child(1, complete), pod(corev1.PodSucceeded, exited(contract.Termination{}))), false, time.Millisecond},
		"a failure counts":    {observed(with(running(3, failures(2)), keep(60)), child(3), pod(corev1.PodFailed, killed("Error", 1, ""))), false, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(c.o, now.Time)
			if d.deleteJob != c.delete || d.requeueAfter != c.requeue {
				t.Errorf("delete %v, look again in %s; want %v, %s", d.deleteJob, d.requeueAfter, c.delete, c.requeue)
			}
		})
	}
}
