package policy

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestRetries(t *testing.T) {
	young := func(job *v1.ResNetTrainingJob) { job.Status.AttemptStartTime = ptr.To(After(-3 * time.Second)) }
	checkDecisions(t, map[string]row{
		"a failure without backoff is a failure still": {
			o: observed(With(Running(1), func(s *v1.ResNetTrainingJobSpec) { s.Retry.BackoffSeconds = ptr.To[int32](0) }),
				Child(1), Pod(corev1.PodFailed, Killed("Error", 1, "boom"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError",
				Message: "attempt 1 failed, the next one begins: exit code 1: boom",
				Attempt: 1, Failures: 1, Events: []string{"Warning TrainerError"}, RequeueAfter: time.Millisecond},
		},
		"attempts that are ended as soon as they begin do not make the operator spin": {
			o: observed(Running(4, young)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 4 ended, the next one begins in 7s: its Job was deleted",
				Attempt: 4, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: 7 * time.Second},
		},
		"a disruption that brought a checkpoint is no reason to wait": {
			o: observed(Running(4, often(3, "00001-00000009-a4")), Child(4),
				Pod(corev1.PodFailed, Killed("Error", 75, ""), DeletedPod(time.Hour))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 4 ended, the next one begins in 9s: its pod was deleted",
				Attempt: 4, Disruptions: 4, Events: []string{"Normal Disrupted"}, RequeueAfter: 9 * time.Second},
		},
		"disruptions that bring none wait longer each time": {
			o: observed(Running(4, often(3, "00001-00000009-a1")), Child(4),
				Pod(corev1.PodFailed, Killed("Error", 137, ""), DeletedPod(time.Hour))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 4 ended, the next one begins in 39s: its pod was deleted",
				Attempt: 4, Disruptions: 4, Events: []string{"Normal Disrupted"}, RequeueAfter: 39 * time.Second},
		},
		"up to ten minutes": {
			o: observed(Running(5000, often(4999, "")), Child(5000),
				Pod(corev1.PodFailed, Killed("Error", 137, ""), DeletedPod(time.Hour))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 5000 ended, the next one begins in 9m59s: its pod was deleted",
				Attempt: 5000, Disruptions: 5000, Events: []string{"Normal Disrupted"}, RequeueAfter: 599 * time.Second},
		},
		"a node that is full costs no retry": {
			o: observed(Starting(1), Child(1),
				Pod(corev1.PodFailed, RejectedBy("OutOfcpu", "Node didn't have enough resource: cpu"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: the node did not take its pod (OutOfcpu): Node didn't have " +
					"enough resource: cpu",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a pod that used more disk than it may has failed": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, RejectedBy("Evicted",
					"Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError",
				Message: "attempt 1 failed, the next one begins in 10s: Pod ephemeral local storage usage exceeds the total " +
					"limit of containers 1Gi.",
				Attempt: 1, Failures: 1, Events: []string{"Warning TrainerError"}, RequeueAfter: 10 * time.Second},
		},
		"a pod that nobody evicted, on a node that does not answer": {
			o: observed(Running(1), Child(1), Pod(corev1.PodRunning, ReadyPod, DeletedPod(-time.Second))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was deleted",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"},
				RequeueAfter: time.Millisecond},
		},
		"a wrong spec is final, even if the pod was being deleted": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, Killed("Error", 64, "spec.x is wrong"), DeletedPod(time.Minute))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "InvalidSpec", Message: "spec.x is wrong",
				Attempt: 1, Failures: 1, Events: []string{"Warning InvalidSpec"}},
		},
		"a fenced attempt that nobody replaced is tried again": {
			o: observed(Running(1), Child(1), Pod(corev1.PodFailed, Killed("Error", 74, "attempt 2 owns the job"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Fenced",
				Message: "attempt 1 failed, the next one begins in 10s: attempt 2 owns the job",
				Attempt: 1, Failures: 1, Events: []string{"Warning Fenced"}, RequeueAfter: 10 * time.Second},
		},
		"trained to the end while its pod was evicted": {
			o: observed(Running(1), Child(1, failing),
				Pod(corev1.PodSucceeded, Killed("Completed", 0, ""), Disrupted("EvictionByEvictionAPI"), DeletedPod(time.Minute))),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded",
				Message: "trained to the end; the model is saved",
				Attempt: 1, Events: []string{"Normal Succeeded"}},
		},
		"the Job fails before the cache shows how its pod ended": {
			o:    observed(Running(1), Child(1, failing), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1},
		},
		"a queue takes the quota back while the pod stops": {
			o:    observed(Running(1), Child(1, SuspendedChild), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1},
		},
		"an attempt that ran and is queued again is over": {
			o: observed(Running(1), Child(1, SuspendedChild)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: a queueing system took its quota back",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"},
				RequeueAfter: time.Millisecond},
		},
		"an attempt that read its data and is queued again is over": {
			o: observed(ranIn(Starting(1), "net-1-0"), Child(1, SuspendedChild)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: a queueing system took its quota back",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"},
				RequeueAfter: time.Millisecond},
		},
		"a second pod of an attempt that ran is another attempt": {
			o: observed(ranIn(Starting(1), "net-1-0"), Child(1), Pod(corev1.PodRunning, Called("net-1-0-second"), ReadyPod)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was deleted",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"},
				RequeueAfter: time.Millisecond},
		},
		"a second pod beside one that still saves": {
			o: observed(ranIn(Running(1), "net-1-0"), Child(1), Pod(corev1.PodRunning, ReadyPod, DeletedPod(30*time.Second)),
				Pod(corev1.PodPending, Called("net-1-0-second"))),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, RequeueAfter: 31 * time.Second},
		},
		"a pod that never ran is replaced within its attempt": {
			o: observed(Starting(1), Child(1)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created", Attempt: 1, RequeueAfter: time.Minute},
		},
		"the pod is gone, and the Job is about to be complete": {
			o: observed(Running(1), Child(1, func(j *batchv1.Job) {
				j.Status.Conditions = append(j.Status.Conditions,
					batchv1.JobCondition{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue})
			})),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1},
		},
		"a finished job stops a child that somebody let run again": {
			o: observed(Succeeded(1), Child(1), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded", Message: "done", Attempt: 1,
				Delete: []string{"net-1"}},
		},
		"the last failure keeps its pod for its log": {
			o: observed(Running(3, Failures(2)), Child(3), Pod(corev1.PodFailed, Killed("Error", 1, "boom"))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "TrainerError",
				Message: "gave up after 3 of 3 failures: exit code 1: boom",
				Attempt: 3, Failures: 3, Events: []string{"Warning TrainerError"}},
		},
	})
}

// often is a job that was disrupted before, whose attempt is a second old.
func often(disruptions int32, checkpoint string) Option[v1.ResNetTrainingJob] {
	return func(job *v1.ResNetTrainingJob) {
		job.Status.Disruptions, job.Status.AttemptStartTime = disruptions, ptr.To(After(-time.Second))
		if checkpoint != "" {
			job.Status.Checkpoint = &v1.CheckpointStatus{Name: checkpoint}
		}
	}
}

func ranIn(job *v1.ResNetTrainingJob, pod string) *v1.ResNetTrainingJob {
	job.Status.PodName = pod
	return job
}

// The pod in which an attempt has run is on record as soon as that matters, and costs no write of its own before.
func TestThePodOfAnAttemptIsRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		o    Observation
		want string
		look time.Duration
	}{
		"with the state": {observed(Starting(1), Child(1), Pod(corev1.PodRunning, ReadyPod)), "net-1-0", 0},
		"not while it reads its data": {
			observed(Starting(1), Child(1), Pod(corev1.PodRunning, TrainerRuns(4*time.Second))), "", 6 * time.Second},
		"unless that takes long": {
			observed(Starting(1), Child(1), Pod(corev1.PodRunning, TrainerRuns(10*time.Second))), "net-1-0", 0},
		"or it leaves": {
			observed(Starting(1), Child(1), Pod(corev1.PodRunning, TrainerRuns(0), DeletedPod(time.Minute))), "net-1-0",
			61 * time.Second},
		"or its quota is taken back": {
			observed(Starting(1), Child(1, SuspendedChild), Pod(corev1.PodRunning, TrainerRuns(0))), "net-1-0", 0},
		"a pod that waits has run nothing": {observed(Starting(1), Child(1), Pod(corev1.PodPending)), "", 0},
		"a new attempt has none": {
			observed(Restarting(1, 0), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, ""))), "", 0},
		"the first one stays, of two": {
			observed(Running(1), Child(1), Pod(corev1.PodRunning, Called("other"), TrainerRuns(0)),
				Pod(corev1.PodRunning, TrainerRuns(time.Minute))), "net-1-0", 0},
		"a second one beside it does not count": {
			observed(Starting(1), Child(1), Pod(corev1.PodRunning, Called("old"), TrainerRuns(0), DeletedPod(time.Minute)),
				Pod(corev1.PodPending)), "old", 61 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.HeldSince = Now.Add(-holdTime)
			if d := Decide(c.o, Now.Time); d.Status.PodName != c.want || d.RequeueAfter != c.look {
				t.Errorf("pod %q, look again in %s; want %q, %s", d.Status.PodName, d.RequeueAfter, c.want, c.look)
			}
		})
	}
}

func failing(j *batchv1.Job) {
	j.Status.Conditions = append(j.Status.Conditions,
		batchv1.JobCondition{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue})
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int32]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 5: 160 * time.Second,
		7: 10 * time.Minute, 100: 10 * time.Minute} {
		if got := backoff(v1.RetrySpec{BackoffSeconds: ptr.To[int32](10)}, failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
	if got := backoff(v1.RetrySpec{BackoffSeconds: ptr.To[int32](0)}, 9); got != 0 {
		t.Errorf("backoffSeconds 0: %s, want none", got)
	}
}
