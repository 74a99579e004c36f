package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// Service meshes and log agents put containers into a pod that never end. Their pod runs on when the trainer has ended.
func TestTheTrainerDecidesWhateverElseRunsInThePod(t *testing.T) {
	mesh := Sidecars("mesh")
	ready := func(p *corev1.Pod) { p.Status.ContainerStatuses[len(p.Status.ContainerStatuses)-1].Ready = true }
	checkDecisions(t, map[string]row{
		"trained to the end": {
			o: observed(Running(1), Child(1), Pod(corev1.PodRunning, Exited(contract.Termination{}), mesh)),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded",
				Message: "trained to the end; the model is saved",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Normal Succeeded"}},
		},
		"trained to the end, and the sidecar failed after it": {
			o: observed(Running(1), Child(1), Pod(corev1.PodFailed, Exited(contract.Termination{}))),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded",
				Message: "trained to the end; the model is saved",
				Attempt: 1, Events: []string{"Normal Succeeded"}},
		},
		"a wrong spec": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodRunning, Exited(contract.Termination{ExitCode: 64, Message: "spec.x"}), mesh)),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "InvalidSpec", Message: "spec.x",
				Attempt: 1, Failures: 1, Delete: []string{"net-1"}, Events: []string{"Warning InvalidSpec"}},
		},
		"a failure is tried again, and the pod stopped": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodRunning, Exited(contract.Termination{ExitCode: 69, Message: "no route"}), mesh)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "StorageUnreachable",
				Message: "attempt 1 failed, the next one begins in 10s: no route",
				Attempt: 1, Failures: 1, Delete: []string{"net-1"}, Events: []string{"Warning StorageUnreachable"},
				RequeueAfter: 10 * time.Second},
		},
		"out of memory names the limit of the trainer": {
			o: observed(Running(1), Child(1), Pod(corev1.PodFailed, Killed("OOMKilled", 137, ""), mesh)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "OutOfMemory",
				Message: "attempt 1 failed, the next one begins in 10s: the trainer needed more memory than " +
					"spec.resources.memory (4Gi) allows: raise it, or lower spec.training.batchSize",
				Attempt: 1, Failures: 1, Events: []string{"Warning OutOfMemory"}, RequeueAfter: 10 * time.Second},
		},
		"it trains although the sidecar is not ready": {
			o: observed(Starting(1), Child(1),
				Pod(corev1.PodRunning, TrainerRuns(time.Minute, "mesh"), NotReady(time.Minute), ready)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "pod net-1-0 trains",
				Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress"},
		},
		"a container before ours that fails is named": {
			o: observed(Starting(1), Child(1), Pod(corev1.PodFailed, Waiting("PodInitializing", ""), func(p *corev1.Pod) {
				p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh-init", State: corev1.ContainerState{
					Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "iptables: no permission"}}}}
			})),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError",
				Message: `attempt 1 failed, the next one begins in 10s: container "mesh-init", which the operator did not add, ` +
					`ended with exit code 1: iptables: no permission`,
				Attempt: 1, Failures: 1, Events: []string{"Warning TrainerError"}, RequeueAfter: 10 * time.Second},
		},
		"the image of a sidecar is not spec.image": {
			o: observed(Starting(1), Child(1), Pod(corev1.PodPending, Waiting("PodInitializing", ""), mesh, func(p *corev1.Pod) {
				p.Status.ContainerStatuses[0].Image = "mesh:1"
				p.Status.ContainerStatuses[0].State = corev1.ContainerState{
					Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}
			})),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "ImagePullFailed",
				Message: `container "mesh", which the operator did not add: image "mesh:1" cannot be pulled: not found`,
				Attempt: 1, Events: []string{"Warning ImagePullFailed"}},
		},
	})
}
