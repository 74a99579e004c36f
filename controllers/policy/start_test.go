package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestWhatIsDenied(t *testing.T) {
	create := func(o Observation) Observation { o.Denied.Create = "create Job net-1: no"; return o }
	remove := func(o Observation) Observation { o.Denied.Delete = "delete Job net-1: no"; return o }
	adopted := observed(Suspend(Restarting(1, 0)), Child(2), Pod(corev1.PodPending))
	adopted.Attempt = 2
	leaving := func(o Observation) Observation {
		o.Denied.NameInUse = "waits until Job net-1 is gone"
		return o
	}
	pending := verdict{State: v1.StatePending, Condition: "Progressing", Reason: "PodRefused",
		Message: "create Job net-1: no",
		Events:  []string{"Warning PodRefused"}, RequeueAfter: 10 * time.Second}
	active := func(ago time.Duration) *v1.ResNetTrainingJob { // it has waited for so long
		job := With(NewJob(), startWithin(60))
		job.Status.State, job.Status.ActiveStartTime = v1.StatePending, ptr.To(After(-ago))
		return job
	}
	checkDecisions(t, map[string]row{
		"a new job": {create(observed(NewJob())), pending},
		"its start deadline passes": {create(observed(active(time.Minute))),
			verdict{State: v1.StateFailed, Condition: "Failed", Reason: "StartDeadlineExceeded",
				Message: "no pod ran within spec.startDeadlineSeconds of 60: create Job net-1: no",
				Events:  []string{"Warning StartDeadlineExceeded"}}},
		"a retry stays between two attempts": {
			create(observed(Restarting(1, 0), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, "")))),
			verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "PodRefused", Message: "create Job net-1: no",
				Attempt: 1, Failures: 1,
				Events: []string{"Warning PodRefused"}, RequeueAfter: 10 * time.Second}},
		"a resumed job is suspended no more": {create(observed(Suspended(1))),
			verdict{State: v1.StateRestarting, Condition: "Suspended", Reason: "Resumed", Message: "spec.suspend is false",
				Attempt: 1,
				Events:  []string{"Warning PodRefused"}, RequeueAfter: 10 * time.Second}},
		"an earlier job of that name is being deleted: nobody has to act": {leaving(observed(NewJob())),
			verdict{State: v1.StatePending, Condition: "Progressing", Reason: "NameInUse",
				Message: "waits until Job net-1 is gone", RequeueAfter: time.Second}},
		"a suspension that is not possible: the pod trains on": {
			remove(observed(Suspend(With(Running(1), startWithin(60))), Child(1, Created(-time.Hour)),
				Pod(corev1.PodRunning, ReadyPod))),
			verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "DeleteRefused", Message: "delete Job net-1: no",
				Attempt: 1, Delete: []string{"net-1"},
				Events: []string{"Warning DeleteRefused"}, RequeueAfter: 10 * time.Second,
				ProgressURL: "http://10.1.2.3:8080/progress"}},
		"one of an attempt that is not in the status yet": {
			remove(observed(Suspend(NewJob()), Child(1), Pod(corev1.PodPending))),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "DeleteRefused", Message: "delete Job net-1: no",
				Attempt: 1, Delete: []string{"net-1"},
				Events: []string{"Warning DeleteRefused"}, RequeueAfter: 10 * time.Second}},
		"the event of an attempt that is not in the status yet is not lost": {
			remove(adopted),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "DeleteRefused", Message: "delete Job net-1: no",
				Attempt: 2, Failures: 1, Delete: []string{"net-2"},
				Events: []string{"Normal AttemptCreated", "Warning DeleteRefused"}, RequeueAfter: 10 * time.Second}},
		"an end is an end": {remove(observed(With(Running(1), activeFor(3600)), Child(1), Pod(corev1.PodRunning, ReadyPod))),
			verdict{State: v1.StateFailed, Condition: "Failed", Reason: "ActiveDeadlineExceeded",
				Message: "spec.activeDeadlineSeconds of 3600 is over",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Warning ActiveDeadlineExceeded"},
				RequeueAfter: 10 * time.Second}},
		"and is tried again": {remove(observed(Succeeded(1), Child(1), Pod(corev1.PodRunning, ReadyPod))),
			verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded", Message: "done", Attempt: 1,
				Delete: []string{"net-1"}, RequeueAfter: 10 * time.Second}},
	})
}
