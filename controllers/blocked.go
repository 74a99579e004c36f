package controllers

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// whyBlocked says what keeps a pending pod from starting and what to do about it; "" if nothing seems to.
func whyBlocked(pod *corev1.Pod) (reason, message string) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return v1.ReasonUnschedulable, fmt.Sprintf("no node fits the pod: %s", c.Message)
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			if reason, message := explainWaiting(w, c.Image); reason != "" {
				return reason, message
			}
		}
	}
	return "", ""
}

func explainWaiting(w *corev1.ContainerStateWaiting, image string) (reason, message string) {
	detail := cmp.Or(w.Message, w.Reason)
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError":
		return v1.ReasonImagePull, fmt.Sprintf("image %q cannot be pulled; correct spec.image or the pull credentials: %s", image, detail)
	case "CreateContainerConfigError":
		return v1.ReasonPodConfig, fmt.Sprintf("the pod waits for something that spec.storage.s3.credentialsSecret names: %s", detail)
	case "CreateContainerError", "RunContainerError":
		return v1.ReasonPodConfig, fmt.Sprintf("the container cannot be created: %s", detail)
	}
	return "", ""
}
