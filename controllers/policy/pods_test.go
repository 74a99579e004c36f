package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// exited is a pod of that index whose trainer ended so.
func exited(index int, code contract.ExitCode, message string, opts ...Option[corev1.Pod]) corev1.Pod {
	opts = append([]Option[corev1.Pod]{Index(index), Exited(contract.Termination{ExitCode: code, Message: message})}, opts...)
	phase := corev1.PodFailed
	if code == contract.ExitDone {
		phase = corev1.PodSucceeded
	}
	return Pod(phase, opts...)
}

// told is a pod of that index whose trainer was told to stop, though the pod was not deleted.
func told(index int) corev1.Pod {
	return Pod(corev1.PodFailed, Index(index), Exited(contract.Termination{ExitCode: contract.ExitStopped, Interrupted: true}))
}

// trains is a pod of that index whose trainer runs.
func trains(index int, opts ...Option[corev1.Pod]) corev1.Pod {
	return Pod(corev1.PodRunning, append([]Option[corev1.Pod]{Index(index), TrainerRuns(time.Minute)}, opts...)...)
}

// The end of an attempt of several pods: which of them is to blame, and is it counted?
func TestTheEndOfSeveralPods(t *testing.T) {
	oom := Pod(corev1.PodFailed, Index(1), Killed("OOMKilled", 137, ""))
	lost := "rank 1 of 2 ended without a word, as if it was killed"
	for name, c := range map[string]struct {
		parts       []any
		gone        []corev1.Pod
		pods        int32
		state       v1.State
		failures    int32
		disruptions int32
		reason      string
		message     string
	}{
		"rank 0 has saved the model, and others still end": {
			parts: []any{exited(0, contract.ExitDone, ""), trains(1)},
			state: v1.StateSucceeded, reason: "Succeeded", message: "trained to the end; the model is saved",
		},
		"rank 0 has saved the model, and others were deleted": {
			parts: []any{exited(0, contract.ExitDone, ""), exited(1, contract.ExitPeerLost, lost, DeletedPod(time.Minute))},
			state: v1.StateSucceeded, reason: "Succeeded", message: "trained to the end; the model is saved",
		},
		"another rank ends first": {
			parts: []any{trains(0), exited(1, contract.ExitDone, "")},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"one rank has other data": {
			parts: []any{exited(0, contract.ExitPeerLost, lost, DeletedPod(time.Minute)), exited(1, contract.ExitConfig, "the data is another one")},
			state: v1.StateFailed, failures: 1, reason: "InvalidSpec", message: "rank 1 (pod net-1-1): the data is another one",
		},
		"one rank needs too much memory; the Job controller deletes the others": {
			parts: []any{trains(0, DeletedPod(time.Minute)), oom},
			state: v1.StateRestarting, failures: 1, reason: "OutOfMemory",
			message: "attempt 1 failed, the next one begins in 10s: rank 1 (pod net-1-1): the trainer needed more memory than " +
				"spec.resources.memory (4Gi) allows: raise it, or lower spec.training.batchSize",
		},
		"the same, and rank 0 has lost it": {
			parts: []any{exited(0, contract.ExitPeerLost, lost), oom},
			state: v1.StateRestarting, failures: 1, reason: "OutOfMemory",
			message: "attempt 1 failed, the next one begins in 10s: rank 1 (pod net-1-1): the trainer needed more memory than " +
				"spec.resources.memory (4Gi) allows: raise it, or lower spec.training.batchSize",
		},
		"the same, and rank 1 was deleted before its end was known": {
			parts: []any{exited(0, contract.ExitPeerLost, lost), Pod(corev1.PodFailed, Index(1), Killed("OOMKilled", 137, ""), DeletedPod(time.Minute))},
			state: v1.StateRestarting, failures: 1, reason: "OutOfMemory",
			message: "attempt 1 failed, the next one begins in 10s: rank 1 (pod net-1-1): the trainer needed more memory than " +
				"spec.resources.memory (4Gi) allows: raise it, or lower spec.training.batchSize",
		},
		"the storage was away for rank 1, which was deleted before its end was known": {
			parts: []any{exited(0, contract.ExitPeerLost, "rank 1 of 2 ended with exit code 69: s3://data does not answer"),
				exited(1, contract.ExitStorage, "s3://data does not answer", DeletedPod(time.Minute))},
			state: v1.StateRestarting, failures: 1, reason: "StorageUnreachable",
			message: "attempt 1 failed, the next one begins in 10s: rank 1 (pod net-1-1): s3://data does not answer",
		},
		"a rank was killed": {
			parts: []any{exited(0, contract.ExitPeerLost, lost), Pod(corev1.PodFailed, Index(1), Killed("Error", 137, ""))},
			state: v1.StateRestarting, failures: 1, reason: "TrainerError",
			message: "attempt 1 failed, the next one begins in 10s: rank 1 (pod net-1-1): exit code 137 (killed): Error",
		},
		"rank 0 lost a peer that has not ended yet": {
			parts: []any{exited(0, contract.ExitPeerLost, lost), trains(1)},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"a frozen rank is deleted because of that": {
			parts: []any{exited(0, contract.ExitPeerLost, "rank 1 of 2 has not answered for 20s"), trains(1, DeletedPod(time.Minute))},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"and killed": {
			parts: []any{exited(0, contract.ExitPeerLost, "rank 1 of 2 has not answered for 20s"),
				Pod(corev1.PodFailed, Index(1), Killed("Error", 137, ""), DeletedPod(time.Minute))},
			state: v1.StateRestarting, failures: 1, reason: "TrainerError",
			message: "attempt 1 failed, the next one begins in 10s: rank 0 (pod net-1-0): exit code 76: rank 1 of 2 has not answered for 20s",
		},
		"its grace is over, and the kubelet has not told that it has killed it": {
			parts: []any{exited(0, contract.ExitPeerLost, "rank 1 of 2 has not answered for 20s"), trains(1, DeletedPod(-time.Second))},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"its node is dead": {
			parts: []any{exited(0, contract.ExitPeerLost, "rank 1 of 2 has not answered for 20s"), trains(1, DeletedPod(-killTime-time.Second))},
			state: v1.StateRestarting, disruptions: 1, reason: "Disrupted",
			message: "attempt 1 ended, the next one begins: rank 1 (pod net-1-1): its pod was deleted",
		},
		"a drained node": {
			parts: []any{exited(0, contract.ExitStopped, "rank 1 of 2 was stopped"),
				exited(1, contract.ExitStopped, "", DeletedPod(time.Minute), Disrupted("EvictionByEvictionAPI"))},
			state: v1.StateRestarting, disruptions: 1, reason: "Disrupted",
			message: "attempt 1 ended, the next one begins: rank 1 (pod net-1-1): its pod was disrupted (EvictionByEvictionAPI)",
		},
		"the node of rank 0 is drained, and it still saves": {
			parts: []any{trains(0, DeletedPod(time.Minute), Disrupted("EvictionByEvictionAPI")),
				exited(1, contract.ExitStopped, "rank 0 of 2 was stopped", DeletedPod(time.Minute))},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"a pod is evicted and has not ended": {
			parts: []any{trains(0), trains(1, DeletedPod(time.Minute), Disrupted("EvictionByEvictionAPI"))},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"one pod was deleted": {
			parts: []any{exited(0, contract.ExitStopped, "rank 1 of 2 was stopped"), exited(1, contract.ExitStopped, "", DeletedPod(time.Minute))},
			state: v1.StateRestarting, disruptions: 1, reason: "Disrupted",
			message: "attempt 1 ended, the next one begins: rank 1 (pod net-1-1): its pod was deleted",
		},
		"a queue takes the quota back, and all pods have stopped": {
			parts: []any{Child(1, SuspendedChild), exited(0, contract.ExitStopped, "", DeletedPod(time.Minute)),
				exited(1, contract.ExitStopped, "rank 0 of 2 was stopped", DeletedPod(time.Minute))},
			state: v1.StateRestarting, disruptions: 1, reason: "Disrupted",
			message: "attempt 1 ended, the next one begins: a queueing system took its quota back",
		},
		"a queue takes the quota back, and rank 0 still saves": {
			parts: []any{Child(1, SuspendedChild), trains(0, DeletedPod(time.Minute)),
				exited(1, contract.ExitStopped, "rank 0 of 2 was stopped", DeletedPod(time.Minute))},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"an evicted rank 0 is gone, and rank 1 has ended because of that": {
			gone:  []corev1.Pod{exited(0, contract.ExitStopped, "", DeletedPod(time.Minute), Disrupted("EvictionByEvictionAPI"))},
			parts: []any{exited(1, contract.ExitStopped, "rank 0 of 2 was stopped", DeletedPod(time.Minute))},
			state: v1.StateRestarting, disruptions: 1, reason: "Disrupted",
			message: "attempt 1 ended, the next one begins: rank 0 (pod net-1-0): its pod was disrupted (EvictionByEvictionAPI)",
		},
		"an evicted rank 1 is gone, and rank 0 still saves": {
			gone:  []corev1.Pod{exited(1, contract.ExitStopped, "", DeletedPod(time.Minute), Disrupted("EvictionByEvictionAPI"))},
			parts: []any{trains(0, DeletedPod(time.Minute))},
			state: v1.StateRunning, reason: "Training", message: "trains",
		},
		"a rank that needed too much memory was deleted and is gone": {
			gone:  []corev1.Pod{Pod(corev1.PodFailed, Index(1), Killed("OOMKilled", 137, ""), DeletedPod(time.Minute))},
			parts: []any{Child(1, FailedChild), exited(0, contract.ExitPeerLost, lost)},
			state: v1.StateRestarting, failures: 1, reason: "OutOfMemory",
			message: "attempt 1 failed, the next one begins in 10s: rank 1 (pod net-1-1): the trainer needed more memory than " +
				"spec.resources.memory (4Gi) allows: raise it, or lower spec.training.batchSize",
		},
		"one pod was deleted by force, and is gone": {
			parts: []any{Child(1, FailedChild), exited(0, contract.ExitPeerLost, lost)},
			state: v1.StateRestarting, disruptions: 1, reason: "Disrupted",
			message: "attempt 1 ended, the next one begins: its pod was deleted",
		},
		"a SIGTERM from nobody": {
			parts: []any{told(0), exited(1, contract.ExitStopped, "rank 0 of 2 was stopped", DeletedPod(time.Minute))},
			state: v1.StateRestarting, failures: 1, reason: "TrainerError",
			message: "attempt 1 failed, the next one begins in 10s: rank 0 (pod net-1-0): it got SIGTERM from somebody other than " +
				"Kubernetes, saved a checkpoint and stopped (exit code 75)",
		},
		"the storage was away for rank 0 while its node is drained": {
			parts: []any{exited(0, contract.ExitStorage, "s3://models does not answer"),
				exited(1, contract.ExitStopped, "", DeletedPod(time.Minute), Disrupted("EvictionByEvictionAPI"))},
			state: v1.StateRestarting, failures: 1, reason: "StorageUnreachable",
			message: "attempt 1 failed, the next one begins in 10s: rank 0 (pod net-1-0): s3://models does not answer",
		},
		"the first of several to blame": {
			parts: []any{exited(0, contract.ExitPeerLost, lost), exited(1, contract.ExitUnexpected, "one"), exited(2, contract.ExitUnexpected, "two")},
			pods:  3,
			state: v1.StateRestarting, failures: 1, reason: "TrainerError",
			message: "attempt 1 failed, the next one begins in 10s: rank 1 (pod net-1-1): exit code 1: one",
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := Distributed(Running(1), max(2, c.pods))
			o := observed(job, append([]any{Child(1)}, c.parts...)...)
			o.Gone = c.gone
			d := Decide(o, Now.Time)
			condition := map[v1.State]string{v1.StateSucceeded: "Complete", v1.StateFailed: "Failed"}[d.Status.State]
			if condition == "" {
				condition = "Progressing"
			}
			got := d.verdict(condition)
			if got.State != c.state || got.Failures != c.failures || got.Disruptions != c.disruptions ||
				got.Reason != c.reason || got.Message != c.message {
				t.Errorf("%s, %d failures, %d disruptions, %s: %q\nwant %s, %d, %d, %s: %q", got.State, got.Failures, got.Disruptions,
					got.Reason, got.Message, c.state, c.failures, c.disruptions, c.reason, c.message)
			}
		})
	}
}

// An attempt of several pods is as far as the last of them.
func TestTheStartOfSeveralPods(t *testing.T) {
	job := func() *v1.ResNetTrainingJob { return Distributed(Starting(1), 2) }
	none := Unschedulable("0/3 nodes have 2 cpu")
	checkDecisions(t, map[string]row{
		"one of two pods finds no node": {
			o: observed(job(), Child(1), trains(0, Scheduled(time.Minute)), Pod(corev1.PodPending, Index(1), none)),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
				Message: "1 of 2 pods run; no node fits the pod: 0/3 nodes have 2 cpu", Attempt: 1,
				Events: []string{"Warning Unschedulable"}, RequeueAfter: 4 * time.Minute},
		},
		"the first of two finds no node": {
			o: observed(job(), Child(1), Pod(corev1.PodPending, Index(0), none), trains(1, Scheduled(time.Minute))),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
				Message: "1 of 2 pods run; no node fits the pod: 0/3 nodes have 2 cpu", Attempt: 1,
				Events: []string{"Warning Unschedulable"}, RequeueAfter: 4 * time.Minute},
		},
		"after five minutes the one that has a node gives it back": {
			o: observed(job(), Child(1), trains(0, Scheduled(5*time.Minute)), Pod(corev1.PodPending, Index(1), none)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "PartlyScheduled",
				Message: "attempt 1 gave its nodes back after 5m0s, the next one begins in 54s: 1 of 2 pods run; " +
					"no node fits the pod: 0/3 nodes have 2 cpu", Attempt: 1,
				Events: []string{"Warning PartlyScheduled"}, Delete: []string{"net-1"}, RequeueAfter: 54 * time.Second},
		},
		"another pod runs meanwhile": {
			o: observed(Distributed(InState(v1.StatePending, 1, metav1.Condition{
				Type: v1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: v1.ReasonUnschedulable,
				Message: "0 of 2 pods run; no node fits the pod: 0/3 nodes have 2 cpu",
			}), 2), Child(1), trains(0, Scheduled(time.Minute)), Pod(corev1.PodPending, Index(1), none)),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
				Message: "1 of 2 pods run; no node fits the pod: 0/3 nodes have 2 cpu", Attempt: 1, RequeueAfter: 4 * time.Minute},
		},
		"none has a node: nothing to give back": {
			o: observed(job(), Child(1), Pod(corev1.PodPending, Index(0), none), Pod(corev1.PodPending, Index(1), none)),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
				Message: "0 of 2 pods run; no node fits the pod: 0/3 nodes have 2 cpu", Attempt: 1,
				Events: []string{"Warning Unschedulable"}},
		},
		"one is not created": {
			o: observed(job(), Child(1), trains(0)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated", Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: time.Minute},
		},
		"one waits for a queue's gate": {
			o: observed(job(), Child(1), trains(0), Pod(corev1.PodPending, Index(1), Gates)),
			want: verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Queued",
				Message: "1 of 2 pods run; the pod waits for its scheduling gates", Attempt: 1, Events: []string{"Normal Queued"}},
		},
		"all run, and rank 0 tells of the training": {
			o: observed(job(), Child(1), trains(0, ReadyPod), trains(1)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "pod net-1-0 trains",
				Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress"},
		},
	})
}
