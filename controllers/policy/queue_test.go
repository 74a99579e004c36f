package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// A new attempt gets a new Workload, which is active: what was stopped for good must not get one.
func TestADeactivatedWorkloadStaysStopped(t *testing.T) {
	stopped := func(o Observation) Observation { o.DeactivatedWorkload = "job-net-1"; return o }
	wants := verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Deactivated",
		Message: "Workload job-net-1 was deactivated, by an administrator or because its time is over: set its spec.active " +
			"to true to go on",
		Attempt: 1, Events: []string{"Warning Deactivated"}, RequeueAfter: time.Minute}
	told := wants
	told.Events = nil
	again := queuedJob()
	d := Decide(stopped(observed(Running(1), Child(1, SuspendedChild))), Now.Time)
	again.Status = d.Status
	checkDecisions(t, map[string]row{
		"once its pod is gone": {stopped(observed(Running(1), Child(1, SuspendedChild))), wants},
		"once its pod has saved": {
			stopped(observed(Running(1), Child(1, SuspendedChild),
				Pod(corev1.PodFailed, Killed("Error", 75, ""), DeletedPod(time.Hour)))), wants},
		"it is told once": {stopped(observed(again, Child(1, SuspendedChild))), told},
		"an edit changes nothing": {
			stopped(observed(With(Starting(1), func(s *v1.ResNetTrainingJobSpec) { s.Image = "trainer:2" }),
				MadeFor(t, Starting(1), SuspendedChild))), wants},
		"active again, it gets in line as the next attempt": {observed(again, Child(1, SuspendedChild)),
			verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: a queueing system took its quota back",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"},
				RequeueAfter: time.Millisecond}},
	})
}
