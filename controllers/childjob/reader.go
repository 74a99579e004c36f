package childjob

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// readerSeconds is how long a reader lives if nobody deletes it.
const readerSeconds = 3600

// Reader is a pod that serves the results of a job, which lie on a volume, on a port of its loopback device, for a
// port-forward. It is as like to a pod like as makes its volume mount and its image start, on its node if one of them runs:
// a volume may be on one node only. nil if no volume holds the results.
func Reader(job *v1.ResNetTrainingJob, like *corev1.PodSpec, running bool) *corev1.Pod {
	folder, ok := strings.CutPrefix(job.Spec.Storage.URI, "file://")
	mount, source := mountOf(path.Clean(folder), job.Spec.Template)
	if !ok || mount == nil {
		return nil
	}
	limits := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")}
	trainer := like.Containers[0]
	for _, c := range like.Containers {
		if c.Name == ContainerName {
			trainer = c
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    job.Name + "-reader-",
			Namespace:       job.Namespace,
			Labels:          map[string]string{"app.kubernetes.io/name": "resnet-reader", "app.kubernetes.io/managed-by": "kubectl-resnet"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: v1.GroupVersion.String(), Kind: v1.Kind, Name: job.Name, UID: job.UID}},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         ptr.To[int64](readerSeconds),
			TerminationGracePeriodSeconds: ptr.To[int64](1),
			AutomountServiceAccountToken:  ptr.To(false),
			EnableServiceLinks:            ptr.To(false),
			ServiceAccountName:            like.ServiceAccountName,
			ImagePullSecrets:              like.ImagePullSecrets,
			NodeSelector:                  like.NodeSelector,
			Tolerations:                   like.Tolerations,
			SecurityContext:               like.SecurityContext,
			Containers: []corev1.Container{{
				Name:            "reader",
				Image:           trainer.Image,
				ImagePullPolicy: trainer.ImagePullPolicy,
				Args:            []string{"serve-folder", folder},
				Resources:       corev1.ResourceRequirements{Requests: limits, Limits: limits},
				SecurityContext: trainer.SecurityContext,
				VolumeMounts:    []corev1.VolumeMount{{Name: mount.Name, MountPath: mount.MountPath, SubPath: mount.SubPath, ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{volume(source)},
		},
	}
	if running && like.NodeName != "" {
		pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{like.NodeName}}},
			}}},
		}}
	}
	return pod
}

// ReaderPort is where a reader listens, on its loopback device only.
const ReaderPort = contract.Port
