package controllers

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// mountPatience is how long the volumes and the network of a pod usually take, and much more.
const mountPatience = 30 * time.Second

// whyBlocked says what keeps a pending pod from starting and what to do about it; "" if nothing seems to, and then
// perhaps when to look again.
func whyBlocked(o observation, pod *corev1.Pod, now time.Time) (reason, message string, revisitIn time.Duration) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason != "" {
			return v1.ReasonUnschedulable, fmt.Sprintf("no node fits the pod: %s", c.Message), 0
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if reason, message := explainWaiting(o.job, c); reason != "" {
			return reason, message, 0
		}
	}
	left, waits := unmounted(pod, now)
	switch {
	case waits && missing.MatchString(o.mountFailure):
		return v1.ReasonPodConfig, fmt.Sprintf("the pod waits for something that spec.template.volumes names: %s", o.mountFailure), 0
	case waits && left <= 0:
		detail := cmp.Or(o.mountFailure, fmt.Sprintf("kubectl -n %s describe pod %s", pod.Namespace, pod.Name))
		return v1.ReasonPodConfig, fmt.Sprintf("a volume or the network of the pod is not ready after %s: %s", mountPatience, detail), 0
	case waits:
		return "", "", left
	}
	return "", "", 0
}

// missing matches what the kubelet says of a volume that somebody has to provide for. Its other failures often pass.
var missing = regexp.MustCompile(`(secret|configmap)s? "[^"]*" not found|references non-existent`)

// unmounted is true for a pod whose node still prepares volumes and network, and says how long to be patient.
func unmounted(pod *corev1.Pod, now time.Time) (left time.Duration, waits bool) {
	scheduled := podHas(pod, corev1.PodScheduled)
	prepared := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionFalse
	})
	if scheduled == nil || !prepared {
		return 0, false
	}
	return mountPatience - now.Sub(scheduled.LastTransitionTime.Time), true
}

// explainWaiting says what a container waits for that somebody has to provide; "" if it does not.
func explainWaiting(job *v1.ResNetTrainingJob, c corev1.ContainerStatus) (reason, message string) {
	w := c.State.Waiting
	if w == nil {
		return "", ""
	}
	detail, whose, mend := cmp.Or(w.Message, w.Reason), "", "; correct spec.image or spec.template.imagePullSecrets"
	if c.Name != containerName {
		whose, mend = fmt.Sprintf("container %q, which the operator did not add: ", c.Name), ""
	}
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
		// Pulling and backing off alternate; they shall read the same.
		if _, cause, ok := strings.Cut(detail, "ErrImagePull: "); ok {
			detail = cause
		}
		return v1.ReasonImagePull, fmt.Sprintf("%simage %q cannot be pulled%s: %s", whose, c.Image, mend, detail)
	case "CreateContainerConfigError":
		if strings.HasPrefix(detail, "failed to sync ") { // its cache of Secrets or ConfigMaps: the kubelet looks again
			return "", ""
		}
		field := "spec.template"
		if s3 := job.Spec.Storage.S3; s3 != nil && s3.CredentialsSecret != nil && strings.Contains(detail, s3.CredentialsSecret.Name) {
			field = "spec.storage.s3.credentialsSecret"
		}
		return v1.ReasonPodConfig, fmt.Sprintf("%sthe pod waits for something that %s names: %s", whose, field, detail)
	case "CreateContainerError", "RunContainerError":
		return v1.ReasonPodConfig, fmt.Sprintf("%sthe container cannot be created: %s", whose, detail)
	}
	return "", ""
}

// sameButNumbers is true for messages like "0/5 nodes are available" that change with every node that comes or goes.
func sameButNumbers(a, b string) bool {
	digit := func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}
	return strings.Map(digit, a) == strings.Map(digit, b)
}
