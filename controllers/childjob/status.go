package childjob

import (
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// What a Job and its pods say. Success and failure are those of the trainer's container, whatever else runs in the pod:
// a service mesh or a log agent may have put containers of its own before and after ours.

// Rejected is true for a pod that its node never ran: it was full, shutting down, or its devices were gone.
func Rejected(pod *corev1.Pod) bool {
	switch reason := pod.Status.Reason; reason {
	case "UnexpectedAdmissionError", "NodeAffinity", "NodeShutdown", "NodeLost", "Shutdown", "Terminated":
		return true
	default:
		return strings.HasPrefix(reason, "OutOf")
	}
}

// Lost is true for a pod that was deleted and did not end in time: its node is dead. The next attempt need not wait for
// it, because it is fenced off the bucket.
func Lost(pod *corev1.Pod, now time.Time) bool {
	return pod.DeletionTimestamp != nil && now.After(pod.DeletionTimestamp.Time) && Terminated(pod) == nil
}

// Working is true for a pod that has not ended and may still do so.
func Working(pod *corev1.Pod, now time.Time) bool {
	failed, succeeded := pod.Status.Phase == corev1.PodFailed, pod.Status.Phase == corev1.PodSucceeded
	return Terminated(pod) == nil && !failed && !succeeded && !Lost(pod, now)
}

// Suspended is true while a queueing system holds the child back.
func Suspended(child *batchv1.Job) bool { return child.Spec.Suspend != nil && *child.Spec.Suspend }

// PodEnded is true for a pod of which no container runs, or will any more.
func PodEnded(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return true
	}
	works := func(c corev1.ContainerStatus) bool { return c.State.Terminated == nil }
	return Terminated(pod) != nil && !slices.ContainsFunc(pod.Status.ContainerStatuses, works)
}

// Succeeded is true for a pod whose trainer has saved the model.
func Succeeded(pod *corev1.Pod) bool {
	if end := Terminated(pod); end != nil {
		return end.ExitCode == 0
	}
	return pod != nil && pod.Status.Phase == corev1.PodSucceeded
}

// TrainerEnded is true for a pod whose trainer runs no more, or never will.
func TrainerEnded(pod *corev1.Pod) bool {
	return pod != nil && (Terminated(pod) != nil || pod.Status.Phase == corev1.PodFailed)
}

// Newest of the pods; one that stays goes before one that is being deleted.
func Newest(pods []corev1.Pod) *corev1.Pod {
	if len(pods) == 0 {
		return nil
	}
	pod := slices.MaxFunc(pods, func(a, b corev1.Pod) int {
		if a.DeletionTimestamp.IsZero() != b.DeletionTimestamp.IsZero() {
			if a.DeletionTimestamp.IsZero() {
				return 1
			}
			return -1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return &pod
}

// TrainerStarted says whether the trainer's container has run, and since when.
func TrainerStarted(pod *corev1.Pod) (yes bool, since time.Time) {
	switch c := trainerStatus(pod); {
	case c == nil:
		return pod != nil && pod.Status.Phase == corev1.PodRunning, time.Time{}
	case c.State.Running != nil:
		return true, c.State.Running.StartedAt.Time
	case c.State.Terminated != nil:
		return true, c.State.Terminated.StartedAt.Time
	default:
		return false, time.Time{}
	}
}

// TrainerReady says whether the kubelet finds the trainer ready, and since when that is so. A pod with other containers
// is ready only if they are as well.
func TrainerReady(pod *corev1.Pod) (ready bool, since time.Time) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			ready, since = c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	if c := trainerStatus(pod); c != nil && c.Ready && !ready {
		return true, time.Time{}
	}
	return ready, since
}

// Gated is true for a pod that the scheduler may not look at yet: a queue has not let it through.
func Gated(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		unscheduled := c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse
		return unscheduled && c.Reason == corev1.PodReasonSchedulingGated
	})
}

// MayRun is true for a child that has a pod, or should get one: nobody holds it back, and it has not ended.
func MayRun(child *batchv1.Job) bool {
	for _, t := range []batchv1.JobConditionType{
		batchv1.JobSuspended, batchv1.JobComplete, batchv1.JobFailed, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet,
	} {
		if JobHas(child, t) {
			return false
		}
	}
	return !Suspended(child) && child.DeletionTimestamp.IsZero()
}

// LacksPod is true for a child that the Job controller has taken up without creating all of its pods, and since when. It
// does both before it says so: a pod that is lacking could not be created, or is gone.
func LacksPod(child *batchv1.Job, pods int32) (yes bool, since time.Time) {
	s := child.Status
	if !MayRun(child) || s.StartTime == nil || s.Active >= pods {
		return false, time.Time{}
	}
	return true, s.StartTime.Time
}

// Unprepared is true for a pending pod whose node prepares its volumes and network, and says since when it has been
// there.
func Unprepared(pod *corev1.Pod) (yes bool, since time.Time) {
	if pod == nil || pod.Status.Phase != corev1.PodPending {
		return false, time.Time{}
	}
	scheduled := PodHas(pod, corev1.PodScheduled)
	yes = slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionFalse
	})
	if scheduled == nil || !yes {
		return false, time.Time{}
	}
	return true, scheduled.LastTransitionTime.Time
}

// trainerStatus is that of the trainer's container; nil if the kubelet has said nothing of it.
func trainerStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	if pod == nil {
		return nil
	}
	ours := func(c corev1.ContainerStatus) bool { return c.Name == ContainerName }
	i := slices.IndexFunc(pod.Status.ContainerStatuses, ours)
	if i < 0 {
		return nil
	}
	return &pod.Status.ContainerStatuses[i]
}

// Terminated is how the trainer ended; nil if it has not.
func Terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if c := trainerStatus(pod); c != nil {
		return c.State.Terminated
	}
	return nil
}

// OutOfMemory is true for a pod whose trainer the kernel killed because it needed more memory than its limit.
func OutOfMemory(pod *corev1.Pod) bool {
	end := Terminated(pod)
	return end != nil && end.Reason == "OOMKilled"
}

// TerminationMessage is what the trainer left at its end.
func TerminationMessage(end *corev1.ContainerStateTerminated) string {
	if end == nil {
		return ""
	}
	return end.Message
}

// JobHas is true for a Job with this condition.
func JobHas(job *batchv1.Job, t batchv1.JobConditionType) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == t && c.Status == corev1.ConditionTrue
	})
}

// PodHas returns a condition of the pod if it is true, else nil.
func PodHas(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i, c := range pod.Status.Conditions {
		if c.Type == t && c.Status == corev1.ConditionTrue {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}
