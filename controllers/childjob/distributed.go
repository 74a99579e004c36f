package childjob

import (
	"fmt"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// podIPVariable is the address by which the other pods reach a pod. JOB_COMPLETION_INDEX is the Job controller's.
const podIPVariable = "POD_IP"

// shmVolume is where the processes of several GPUs exchange what they cannot give each other directly (NCCL): a container's own /dev/shm
// has 64 MiB. What it holds counts as the pod's memory.
const shmVolume = "resnet-shm"

// distribute makes of the Job of one process that of a job with several.
func distribute(job *v1.ResNetTrainingJob, child *batchv1.Job) {
	if job.Spec.Distributed == nil && job.Spec.Processes() == 1 {
		return
	}
	pod := &child.Spec.Template.Spec
	trainer := &pod.Containers[0]
	trainer.Args = append(trainer.Args, fmt.Sprintf("--processes=%d", job.Spec.ProcessesPerPod()))
	if job.Spec.Resources.GPUs > 1 {
		addSharedMemory(pod)
	}
	pods := job.Spec.Pods()
	if pods == 1 {
		return
	}
	child.Spec.Completions, child.Spec.Parallelism = &pods, &pods
	first := "0" // rank 0 saves the model
	child.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: &first}}}
	trainer.Args = append(trainer.Args,
		fmt.Sprintf("--nnodes=%d", pods), "--node-rank=$(JOB_COMPLETION_INDEX)", "--node-address=$("+podIPVariable+")")
	trainer.Env = append(trainer.Env, corev1.EnvVar{Name: podIPVariable, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"},
	}})
	if pod.Affinity == nil {
		pod.Affinity = &corev1.Affinity{}
	}
	if pod.Affinity.PodAffinity == nil {
		pod.Affinity.PodAffinity = together(child)
	}
}

// addSharedMemory mounts memory at /dev/shm, unless the platform does.
func addSharedMemory(pod *corev1.PodSpec) {
	const path = "/dev/shm"
	trainer := &pod.Containers[0]
	for _, m := range trainer.VolumeMounts {
		if m.MountPath == path {
			return
		}
	}
	trainer.VolumeMounts = append(trainer.VolumeMounts, corev1.VolumeMount{Name: shmVolume, MountPath: path})
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: shmVolume, VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory},
	}})
}

// together prefers nodes that are near to those of the other pods: they exchange all gradients in every step.
func together(child *batchv1.Job) *corev1.PodAffinity {
	near := func(weight int32, topology string) corev1.WeightedPodAffinityTerm {
		return corev1.WeightedPodAffinityTerm{Weight: weight, PodAffinityTerm: corev1.PodAffinityTerm{
			TopologyKey: topology,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
				LabelJobName: child.Labels[LabelJobName], LabelAttempt: child.Labels[LabelAttempt],
			}},
		}}
	}
	return &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
		near(100, corev1.LabelTopologyZone), near(50, corev1.LabelHostname),
	}}
}

// Index of a pod among those of its attempt, which is the node rank of its processes; -1 if it has none.
func Index(pod *corev1.Pod) int {
	index, err := strconv.Atoi(pod.Labels[batchv1.JobCompletionIndexAnnotation])
	if err != nil {
		return -1
	}
	return index
}
