package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// mountTimeout is how long the volumes and the network of a pod usually take, and much more. It is the time of a look.
const mountTimeout = lookInterval

// whyBlocked says what keeps a pending pod from starting and what to do about it; "" if nothing seems to, and then
// perhaps when to look again.
func whyBlocked(o Observation, pod *corev1.Pod, now time.Time) (reason, message string, revisitIn time.Duration) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason != "" {
			return v1.ReasonUnschedulable, "no node fits the pod: " + unboundClaims(o.Job, pod, c.Message), 0
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if reason, message := waitingReason(o.Job, c); reason != "" {
			return reason, message, 0
		}
	}
	unprepared, since := childjob.Unprepared(pod)
	if !unprepared {
		return "", "", 0
	}
	waited := now.Sub(since)
	switch {
	case missing.MatchString(o.FailedMount):
		reason = v1.ReasonPodConfig
		message = fmt.Sprintf("the pod waits for something that spec.template.volumes names: %s", o.FailedMount)
	case waited >= mountTimeout:
		reason = v1.ReasonPodConfig
		detail := cmp.Or(o.FailedMount, fmt.Sprintf("kubectl -n %s describe pod %s", pod.Namespace, pod.Name))
		message = fmt.Sprintf("a volume or the network of the pod is not ready after %s: %s", mountTimeout, detail)
	}
	return reason, message, nextLook(waited)
}

// unbound matches what the scheduler says of claims that have no volume.
var unbound = regexp.MustCompile(
	`unbound immediate PersistentVolumeClaims|didn't find available persistent volumes to bind`)

// unboundClaims is the scheduler's message. If that is about claims without a volume, which it does not name, those of
// the job stand before it, with what they may lack.
func unboundClaims(job *v1.ResNetTrainingJob, pod *corev1.Pod, message string) string {
	if !unbound.MatchString(message) || job.Spec.Template == nil {
		return message
	}
	var names []string
	for _, v := range job.Spec.Template.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			names = append(names, pod.Name+"-"+v.Name)
		}
	}
	return fmt.Sprintf("a claim has no volume: kubectl -n %s describe pvc %s; "+
		"without storageClassName it takes a default StorageClass: %s", pod.Namespace, strings.Join(names, " "), message)
}

// missing matches what the kubelet says of a volume that somebody has to provide for. Its other failures often pass.
var missing = regexp.MustCompile(`(secret|configmap)s? "[^"]*" not found|references non-existent`)

// waitingReason says what a container waits for that somebody has to provide; "" if it does not.
func waitingReason(job *v1.ResNetTrainingJob, c corev1.ContainerStatus) (reason, message string) {
	w := c.State.Waiting
	if w == nil {
		return "", ""
	}
	detail, whose, mend := cmp.Or(w.Message, w.Reason), "", "; correct spec.image or spec.template.imagePullSecrets"
	if c.Name != childjob.ContainerName {
		whose, mend = fmt.Sprintf("container %q, which the operator did not add: ", c.Name), ""
	}
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
		"RegistryUnavailable", "SignatureValidationFailed":
		// Pulling and backing off alternate, and shall read the same.
		if _, cause, ok := strings.Cut(detail, "ErrImagePull: "); ok {
			detail = cause
		}
		return v1.ReasonImagePull, fmt.Sprintf("%simage %q cannot be pulled%s: %s", whose, c.Image, mend, detail)
	case "CreateContainerConfigError":
		if strings.HasPrefix(detail, "failed to sync ") { // its cache of Secrets or ConfigMaps: the kubelet looks again
			return "", ""
		}
		field := "spec.template"
		s3 := job.Spec.Storage.S3
		if s3 != nil && s3.CredentialsSecret != nil && strings.Contains(detail, s3.CredentialsSecret.Name) {
			field = "spec.storage.s3.credentialsSecret"
		}
		return v1.ReasonPodConfig, fmt.Sprintf("%sthe pod waits for something that %s names: %s", whose, field, detail)
	case "CreateContainerError", "RunContainerError":
		return v1.ReasonPodConfig, fmt.Sprintf("%sthe container cannot be created: %s", whose, detail)
	}
	return "", ""
}
