package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// attemptOf a pod, 0 if its label is none of the operator's.
func attemptOf(pod *corev1.Pod) int32 {
	n, err := strconv.ParseInt(pod.Labels[childjob.LabelAttempt], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// trainerOf is what the kubelet says of the trainer in a pod, nil if nothing.
func trainerOf(pod *corev1.Pod) *corev1.ContainerStatus {
	i := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == childjob.ContainerName })
	if i < 0 {
		return nil
	}
	return &pod.Status.ContainerStatuses[i]
}

// hasRun reports whether the trainer in a pod has a log.
func hasRun(pod *corev1.Pod) bool {
	s := trainerOf(pod)
	return s != nil && (s.State.Running != nil || s.State.Terminated != nil)
}

func running(pod *corev1.Pod) bool {
	s := trainerOf(pod)
	return s != nil && s.State.Running != nil
}

// podState says what a pod does, and its last word.
func podState(pod *corev1.Pod) (state, word string) {
	s := trainerOf(pod)
	switch {
	case s != nil && s.State.Terminated != nil:
		t := s.State.Terminated
		if last, ok := contract.ParseTermination(t.Message); ok {
			word = last.Message
		}
		return fmt.Sprintf("ended with %d", t.ExitCode), cmp.Or(word, t.Reason)
	case pod.DeletionTimestamp != nil:
		return "is being deleted", ""
	case s != nil && s.State.Waiting != nil:
		return cmp.Or(s.State.Waiting.Reason, string(pod.Status.Phase)), s.State.Waiting.Message
	}
	return cmp.Or(string(pod.Status.Phase), "Pending"), pod.Status.Message
}

// recorder is the pod of an attempt that records the training: that of index 0, where there are several. nil if there is
// none.
func recorder(pods []corev1.Pod, attempt int32) *corev1.Pod {
	var found *corev1.Pod
	for i := range pods {
		pod := &pods[i]
		if attemptOf(pod) != attempt || cmp.Or(pod.Annotations[batchv1.JobCompletionIndexAnnotation], "0") != "0" {
			continue
		}
		if found == nil || hasRun(pod) {
			found = pod
		}
	}
	return found
}

// trainerPod is the pod that trains now, nil if there is none.
func (c *cluster) trainerPod(ctx context.Context, job *v1.ResNetTrainingJob) (*corev1.Pod, error) {
	pods, err := c.pods(ctx, job)
	if err != nil {
		return nil, err
	}
	if pod := recorder(pods, job.Status.Attempt); pod != nil && running(pod) {
		return pod, nil
	}
	return nil, nil
}
