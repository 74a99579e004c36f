package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// failureOf names the failure of the trainer by its exit code, with the message that it left, else with the end of its
// log.
func failureOf(
	pod *corev1.Pod, end *corev1.ContainerStateTerminated, termination contract.Termination,
) (reason, message string) {
	if childjob.OutOfMemory(pod) {
		return v1.ReasonOutOfMemory, fmt.Sprintf("the trainer needed more memory than spec.resources.memory (%s) allows: "+
			"raise it, or lower spec.training.batchSize", memoryLimit(pod))
	}
	message = cmp.Or(termination.Message, lastLines(end.Message), end.Reason)
	switch contract.ExitCode(end.ExitCode) {
	case contract.ExitConfig:
		return v1.ReasonInvalidSpec, message
	case contract.ExitData:
		return v1.ReasonInvalidData, message
	case contract.ExitStorage:
		return v1.ReasonStorageUnreachable, message
	case contract.ExitDiverged:
		return v1.ReasonDiverged, message
	case contract.ExitFenced:
		return v1.ReasonFenced, message
	case contract.ExitStopped: // with a deletion it would be a disruption; without, it must not be free for ever
		return v1.ReasonTrainerError,
			"it got SIGTERM from somebody other than Kubernetes, saved a checkpoint and stopped (exit code 75)"
	}
	return v1.ReasonTrainerError, fmt.Sprintf("%s: %s", exitCode(end.ExitCode), message)
}

// exitCode names the signal behind a code of a shell, such as 137.
func exitCode(code int32) string {
	if signal := syscall.Signal(code - 128); code > 128 && code <= 128+31 {
		return fmt.Sprintf("exit code %d (%s)", code, signal)
	}
	return fmt.Sprintf("exit code %d", code)
}

// disruption says what ended a pod from outside, "" if nothing did.
func disruption(pod *corev1.Pod, end *corev1.ContainerStateTerminated) string {
	if pod == nil {
		return "its pod was deleted"
	}
	if c := childjob.PodHas(pod, corev1.DisruptionTarget); c != nil {
		return strings.TrimSuffix(fmt.Sprintf("its pod was disrupted (%s): %s", c.Reason, c.Message), ": ")
	}
	switch {
	case end != nil && contract.ExitCode(end.ExitCode).Permanent():
		return "" // a wrong spec stays wrong, even if the pod was being deleted as well
	case !pod.DeletionTimestamp.IsZero():
		return "its pod was deleted"
	case end == nil && childjob.Rejected(pod):
		why := fmt.Sprintf("the node did not take its pod (%s): %s", pod.Status.Reason, pod.Status.Message)
		return strings.TrimSuffix(why, ": ")
	}
	return ""
}

// failedBeside names the container, not ours, that kept the trainer from running; "" if none did.
func failedBeside(pod *corev1.Pod) string {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if end := c.State.Terminated; end != nil && end.ExitCode != 0 && c.Name != childjob.ContainerName {
			return fmt.Sprintf("container %q, which the operator did not add, ended with %s: %s",
				c.Name, exitCode(end.ExitCode), cmp.Or(lastLines(end.Message), end.Reason))
		}
	}
	return ""
}

// memoryLimit of the trainer's container.
func memoryLimit(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == childjob.ContainerName {
			return c.Resources.Limits.Memory().String()
		}
	}
	return "unknown"
}
