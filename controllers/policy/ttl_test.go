package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestTimeToLive(t *testing.T) {
	keep := func(n int32) func(*v1.ResNetTrainingJobSpec) {
		return func(s *v1.ResNetTrainingJobSpec) { s.TTLSecondsAfterFinished = &n }
	}
	finished := func() *v1.ResNetTrainingJob { // ten seconds ago
		job := Succeeded(1)
		job.Status.CompletionTime = ptr.To(After(-10 * time.Second))
		return job
	}
	for name, c := range map[string]struct {
		o       Observation
		delete  bool
		requeue time.Duration
	}{
		"no limit":        {observed(finished()), false, 0},
		"before it":       {observed(With(finished(), keep(30))), false, 20 * time.Second},
		"at it":           {observed(With(finished(), keep(10))), true, 0},
		"a job that runs": {observed(With(Running(1), keep(0)), Child(1), Pod(corev1.PodRunning, ReadyPod)), false, 0},
		"the end is recorded": {observed(With(Running(1), keep(0)), Child(1, Complete),
			Pod(corev1.PodSucceeded, Exited(contract.Termination{}))), false, time.Millisecond},
		"a failure counts": {observed(With(Running(3, Failures(2)), keep(60)), Child(3),
			Pod(corev1.PodFailed, Killed("Error", 1, ""))), false, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.o, Now.Time)
			if d.DeleteJob != c.delete || d.RequeueAfter != c.requeue {
				t.Errorf("delete %v, look again in %s; want %v, %s", d.DeleteJob, d.RequeueAfter, c.delete, c.requeue)
			}
		})
	}
}
