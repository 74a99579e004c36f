package controllers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// What a pod and a Job say. Success and failure are those of the trainer's container, whatever else runs in the pod: a
// service mesh or a log agent may have put containers of its own before and after ours.

// rejected is true for a pod that its node never ran: it was full, shutting down, or its devices were gone.
func rejected(pod *corev1.Pod) bool {
	switch reason := pod.Status.Reason; reason {
	case "UnexpectedAdmissionError", "NodeAffinity", "NodeShutdown", "NodeLost", "Shutdown", "Terminated":
		return true
	default:
		return strings.HasPrefix(reason, "OutOf")
	}
}

// lost is true for a pod that was deleted and did not end in time: its node is dead. The next attempt need not wait for
// it, because it is fenced off the bucket.
func lost(pod *corev1.Pod, now time.Time) bool {
	return pod.DeletionTimestamp != nil && now.After(pod.DeletionTimestamp.Time) && terminated(pod) == nil
}

// working is true for a pod that has not ended and may still do so.
func working(pod *corev1.Pod, now time.Time) bool {
	return terminated(pod) == nil && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded && !lost(pod, now)
}

// allLost is true if there are pods and none of them will be heard of again.
func allLost(o observation, now time.Time) bool {
	return len(o.pods) > 0 && !slices.ContainsFunc(o.pods, func(p corev1.Pod) bool { return !lost(&p, now) })
}

// held is true while a queueing system suspends the child.
func held(child *batchv1.Job) bool { return child.Spec.Suspend != nil && *child.Spec.Suspend }

// live is true for a child that has a pod which works, or would get one.
func live(o observation) bool {
	for _, t := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed, batchv1.JobFailureTarget} {
		if jobHas(o.child, t) {
			return false
		}
	}
	pod := o.pod()
	return held(o.child) || pod == nil || !over(pod)
}

// over is true for a pod of which no container runs, or will any more.
func over(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return true
	}
	return terminated(pod) != nil && !slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Terminated == nil
	})
}

// trainedToTheEnd is true for a pod whose trainer has saved the model.
func trainedToTheEnd(pod *corev1.Pod) bool {
	if end := terminated(pod); end != nil {
		return end.ExitCode == 0
	}
	return pod != nil && pod.Status.Phase == corev1.PodSucceeded
}

// ended is true for a pod whose trainer runs no more, or never will.
func ended(pod *corev1.Pod) bool {
	return pod != nil && (terminated(pod) != nil || pod.Status.Phase == corev1.PodFailed)
}

// pod is the one that the attempt is judged by: the one that its trainer has run in, and no other. Before that, the
// newest; nil if there is none.
func (o observation) pod() *corev1.Pod {
	if name := o.ranIn(); name != "" {
		i := slices.IndexFunc(o.pods, func(p corev1.Pod) bool { return p.Name == name })
		if i < 0 {
			return nil
		}
		return &o.pods[i]
	}
	ran := func(p corev1.Pod) bool { yes, _ := started(&p); return yes }
	if i := slices.IndexFunc(o.pods, ran); i >= 0 {
		return &o.pods[i]
	}
	return newest(o.pods)
}

// ranIn is the name of the pod in which the trainer of the attempt has run; "" if that is not known of any.
func (o observation) ranIn() string {
	if o.attempt != o.job.Status.Attempt {
		return ""
	}
	return cmp.Or(o.job.Status.PodName, o.followedPod)
}

// newest of the pods; one that stays goes before one that is being deleted.
func newest(pods []corev1.Pod) *corev1.Pod {
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

// started says whether the trainer's container has run, and since when.
func started(pod *corev1.Pod) (yes bool, since time.Time) {
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

// trainerReady says whether the kubelet finds the trainer ready, and since when that is so. A pod with other containers
// is ready only if they are as well.
func trainerReady(pod *corev1.Pod) (ready bool, since time.Time) {
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

// gated is true for a pod that the scheduler may not look at yet: a queue has not let it through.
func gated(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonSchedulingGated
	})
}

// trainerStatus is that of the trainer's container; nil if the kubelet has said nothing of it.
func trainerStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	if pod == nil {
		return nil
	}
	i := slices.IndexFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == containerName })
	if i < 0 {
		return nil
	}
	return &pod.Status.ContainerStatuses[i]
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if c := trainerStatus(pod); c != nil {
		return c.State.Terminated
	}
	return nil
}

// failedBeside names the container, not ours, that kept the trainer from running; "" if none did.
func failedBeside(pod *corev1.Pod) string {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if end := c.State.Terminated; end != nil && end.ExitCode != 0 && c.Name != containerName {
			return fmt.Sprintf("container %q, which the operator did not add, ended with %s: %s", c.Name, exitCode(end.ExitCode), cmp.Or(lastLines(end.Message), end.Reason))
		}
	}
	return ""
}

// memoryLimit of the trainer's container.
func memoryLimit(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == containerName {
			return c.Resources.Limits.Memory().String()
		}
	}
	return "unknown"
}

func messageOf(end *corev1.ContainerStateTerminated) string {
	if end == nil {
		return ""
	}
	return end.Message
}

func jobHas(job *batchv1.Job, t batchv1.JobConditionType) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == t && c.Status == corev1.ConditionTrue
	})
}

// podHas returns a condition of the pod if it is true, else nil.
func podHas(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i, c := range pod.Status.Conditions {
		if c.Type == t && c.Status == corev1.ConditionTrue {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}
