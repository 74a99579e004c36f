package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestSuspension(t *testing.T) {
	suspending := func(job *v1.ResNetTrainingJob) *v1.ResNetTrainingJob {
		meta.SetStatusCondition(&job.Status.Conditions,
			metav1.Condition{Type: v1.ConditionProgressing, Status: metav1.ConditionTrue, Reason: v1.ReasonSuspending,
				Message: "saves"})
		return job
	}
	isSuspended := verdict{State: v1.StateSuspended, Condition: "Suspended", Reason: "Suspended",
		Message: "spec.suspend is true: set it to false to go on", Attempt: 1, Events: []string{"Normal Suspended"}}
	failed := isSuspended
	failed.Failures = 1
	checkDecisions(t, map[string]row{
		"the event of a suspension comes once": {
			o: observed(Suspend(suspending(Running(1))), Child(1, DeletedChild),
				Pod(corev1.PodRunning, ReadyPod, DeletedPod(time.Minute))),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Suspending",
				Message: "spec.suspend is true: the pod saves a checkpoint and stops",
				Attempt: 1, RequeueAfter: 61 * time.Second},
		},
		"a pod on a dead node does not hold up a suspension": {
			o: observed(Suspend(suspending(Running(1))), Child(1, DeletedChild),
				Pod(corev1.PodRunning, DeletedPod(-time.Second))), want: isSuspended,
		},
		"a job between two attempts": {
			o:    observed(Suspend(Restarting(1, time.Minute)), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, ""))),
			want: failed},
		"a failure at that moment counts": {
			o: observed(Suspend(Running(1)), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, ""))), want: failed},
		"the last failure at that moment": {
			o: observed(Suspend(Running(1, Failures(2))), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, "boom"))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "TrainerError",
				Message: "gave up after 3 of 3 failures: exit code 1: boom",
				Attempt: 1, Failures: 3, Events: []string{"Warning TrainerError"}},
		},
		"a pod that cannot start is taken away": {
			o: observed(Suspend(Starting(1)), Child(1), Pod(corev1.PodPending, Unschedulable("0/3"))),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "Suspending",
				Message: "spec.suspend is true: the pod saves a checkpoint and stops",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Normal Suspending"}},
		},
		"taken back before the pod was gone: neither a failure nor a disruption": {
			o: observed(suspending(Running(1)), Child(1, DeletedChild),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 75}), DeletedPod(time.Minute))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Resumed",
				Message: "attempt 1 ended, the next one begins: spec.suspend is false again",
				Attempt: 1, Events: []string{"Normal Resumed"}, RequeueAfter: time.Millisecond},
		},
		"a wrong spec is told also while suspended": {
			o: observed(Suspend(Running(1)), Child(1),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 64, Message: "spec.x"}))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "InvalidSpec", Message: "spec.x", Attempt: 1,
				Failures: 1, Events: []string{"Warning InvalidSpec"}},
		},
	})
}
