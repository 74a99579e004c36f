package controllers

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

func TestRetries(t *testing.T) {
	young := func(job *v1.ResNetTrainingJob) { job.Status.AttemptStartTime = ptr.To(after(-3 * time.Second)) }
	checkDecisions(t, map[string]row{
		"a failure without backoff is a failure still": {
			o: observed(with(running(1), func(s *v1.ResNetTrainingJobSpec) { s.Retry.BackoffSeconds = ptr.To[int32](0) }), child(1), pod(corev1.PodFailed, killed("Error", 1, "boom"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError", Message: "attempt 1 failed, the next one begins: exit code 1: boom",
				Attempt: 1, Failures: 1, Events: []string{"Warning TrainerError"}, RequeueAfter: time.Millisecond},
		},
		"attempts that are ended as soon as they begin do not make the operator spin": {
			o: observed(running(4, young)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted", Message: "attempt 4 ended, the next one begins in 7s: its Job was deleted",
				Attempt: 4, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: 7 * time.Second},
		},
		"a disruption that brought a checkpoint is no reason to wait": {
			o: observed(running(4, often(3, "00001-00000009-a4")), child(4), pod(corev1.PodFailed, killed("Error", 75, ""), deletedPod(time.Hour))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted", Message: "attempt 4 ended, the next one begins in 9s: its pod was deleted",
				Attempt: 4, Disruptions: 4, Events: []string{"Normal Disrupted"}, RequeueAfter: 9 * time.Second},
		},
		"disruptions that bring none wait longer each time": {
			o: observed(running(4, often(3, "00001-00000009-a1")), child(4), pod(corev1.PodFailed, killed("Error", 137, ""), deletedPod(time.Hour))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted", Message: "attempt 4 ended, the next one begins in 39s: its pod was deleted",
				Attempt: 4, Disruptions: 4, Events: []string{"Normal Disrupted"}, RequeueAfter: 39 * time.Second},
		},
		"up to ten minutes": {
			o: observed(running(5000, often(4999, "")), child(5000), pod(corev1.PodFailed, killed("Error", 137, ""), deletedPod(time.Hour))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted", Message: "attempt 5000 ended, the next one begins in 9m59s: its pod was deleted",
				Attempt: 5000, Disruptions: 5000, Events: []string{"Normal Disrupted"}, RequeueAfter: 599 * time.Second},
		},
		"a node that is full costs no retry": {
			o: observed(starting(1), child(1), pod(corev1.PodFailed, rejectedBy("OutOfcpu", "Node didn't have enough resource: cpu"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: the node did not take its pod (OutOfcpu): Node didn't have enough resource: cpu",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a pod that used more disk than it may has failed": {
			o: observed(running(1), child(1), pod(corev1.PodFailed, rejectedBy("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError",
				Message: "attempt 1 failed, the next one begins in 10s: Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
				Attempt: 1, Failures: 1, Events: []string{"Warning TrainerError"}, RequeueAfter: 10 * time.Second},
		},
		"a pod that nobody evicted, on a node that does not answer": {
			o: observed(running(1), child(1), pod(corev1.PodRunning, readyPod, deletedPod(-time.Second))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted", Message: "attempt 1 ended, the next one begins: its pod was deleted",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a wrong spec is final, even if the pod was being deleted": {
			o: observed(running(1), child(1), pod(corev1.PodFailed, killed("Error", 64, "spec.x is wrong"), deletedPod(time.Minute))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "InvalidSpec", Message: "spec.x is wrong",
				Attempt: 1, Failures: 1, Events: []string{"Warning InvalidSpec"}},
		},
		"a fenced attempt that nobody replaced is tried again": {
			o: observed(running(1), child(1), pod(corev1.PodFailed, killed("Error", 74, "attempt 2 owns the job"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Fenced", Message: "attempt 1 failed, the next one begins in 10s: attempt 2 owns the job",
				Attempt: 1, Failures: 1, Events: []string{"Warning Fenced"}, RequeueAfter: 10 * time.Second},
		},
		"trained to the end while its pod was evicted": {
			o: observed(running(1), child(1, failing), pod(corev1.PodSucceeded, killed("Completed", 0, ""), disrupted("EvictionByEvictionAPI"), deletedPod(time.Minute))),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded", Message: "trained to the end; the model is saved",
				Attempt: 1, Events: []string{"Normal Succeeded"}},
		},
		"the Job fails before the cache shows how its pod ended": {
			o:    observed(running(1), child(1, failing), pod(corev1.PodRunning, readyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1},
		},
		"a queue takes the quota back while the pod stops": {
			o:    observed(running(1), child(1, suspendedChild), pod(corev1.PodRunning, readyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1},
		},
		"an attempt that ran and is queued again is over": {
			o: observed(running(1), child(1, suspendedChild)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: a queueing system took its quota back",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"an attempt that read its data and is queued again is over": {
			o: observed(ranIn(starting(1), "net-1-0"), child(1, suspendedChild)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: a queueing system took its quota back",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a second pod of an attempt that ran is another attempt": {
			o: observed(ranIn(starting(1), "net-1-0"), child(1), pod(corev1.PodRunning, called("net-1-0-second"), readyPod)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was deleted",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a second pod beside one that still saves": {
			o: observed(ranIn(running(1), "net-1-0"), child(1), pod(corev1.PodRunning, readyPod, deletedPod(30*time.Second)), pod(corev1.PodPending, called("net-1-0-second"))),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, RequeueAfter: 31 * time.Second},
		},
		"a pod that never ran is replaced within its attempt": {
			o:    observed(starting(1), child(1)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated", Message: "attempt 1 created", Attempt: 1, RequeueAfter: time.Minute},
		},
		"the pod is gone, and the Job is about to be complete": {
			o: observed(running(1), child(1, func(j *batchv1.Job) {
				j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue})
			})),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1},
		},
		"a finished job stops a child that somebody let run again": {
			o:    observed(succeeded(1), child(1), pod(corev1.PodRunning, readyPod)),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded", Message: "done", Attempt: 1, Delete: []string{"net-1"}},
		},
		"the last failure keeps its pod for its log": {
			o: observed(running(3, failures(2)), child(3), pod(corev1.PodFailed, killed("Error", 1, "boom"))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "TrainerError", Message: "gave up after 3 of 3 failures: exit code 1: boom",
				Attempt: 3, Failures: 3, Events: []string{"Warning TrainerError"}},
		},
	})
}

// often is a job that was disrupted before, whose attempt is a second old.
func often(disruptions int32, checkpoint string) option[v1.ResNetTrainingJob] {
	return func(job *v1.ResNetTrainingJob) {
		job.Status.Disruptions, job.Status.AttemptStartTime = disruptions, ptr.To(after(-time.Second))
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
		o    observation
		want string
		look time.Duration
	}{
		"with the state":                        {observed(starting(1), child(1), pod(corev1.PodRunning, readyPod)), "net-1-0", 0},
		"not while it reads its data":           {observed(starting(1), child(1), pod(corev1.PodRunning, trainerRuns(4*time.Second))), "", 6 * time.Second},
		"unless that takes long":                {observed(starting(1), child(1), pod(corev1.PodRunning, trainerRuns(10*time.Second))), "net-1-0", 0},
		"or it leaves":                          {observed(starting(1), child(1), pod(corev1.PodRunning, trainerRuns(0), deletedPod(time.Minute))), "net-1-0", 61 * time.Second},
		"or its quota is taken back":            {observed(starting(1), child(1, suspendedChild), pod(corev1.PodRunning, trainerRuns(0))), "net-1-0", 0},
		"a pod that waits has run nothing":      {observed(starting(1), child(1), pod(corev1.PodPending)), "", 0},
		"a new attempt has none":                {observed(restarting(1, 0), child(1), pod(corev1.PodFailed, killed("Error", 1, ""))), "", 0},
		"the first one stays, of two":           {observed(running(1), child(1), pod(corev1.PodRunning, called("other"), trainerRuns(0)), pod(corev1.PodRunning, trainerRuns(time.Minute))), "net-1-0", 0},
		"a second one beside it does not count": {observed(starting(1), child(1), pod(corev1.PodRunning, called("old"), trainerRuns(0), deletedPod(time.Minute)), pod(corev1.PodPending)), "old", 61 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if d := decide(c.o, now.Time); d.status.PodName != c.want || d.requeueAfter != c.look {
				t.Errorf("pod %q, look again in %s; want %q, %s", d.status.PodName, d.requeueAfter, c.want, c.look)
			}
		})
	}
}

func failing(j *batchv1.Job) {
	j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue})
}

func rejectedBy(reason, message string) option[corev1.Pod] {
	return func(p *corev1.Pod) { p.Status.Reason, p.Status.Message = reason, message }
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int32]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 5: 160 * time.Second, 7: 10 * time.Minute, 100: 10 * time.Minute} {
		if got := backoff(v1.RetrySpec{BackoffSeconds: ptr.To[int32](10)}, failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
	if got := backoff(v1.RetrySpec{BackoffSeconds: ptr.To[int32](0)}, 9); got != 0 {
		t.Errorf("backoffSeconds 0: %s, want none", got)
	}
}
