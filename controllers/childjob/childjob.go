// Package childjob makes the batch/v1 Job of an attempt, and reads it and its pods. It knows nothing of other attempts,
// and talks to nobody.
//
// Every attempt is a Job of its own, <job>-<attempt>, created once and never changed. Its number fences the bucket: see
// package checkpoint of the trainer.
package childjob

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	// LabelJobName is on every child Job and pod.
	LabelJobName = "training.resnet-operator.dev/job-name"
	// LabelAttempt is on every child Job and pod.
	LabelAttempt = "training.resnet-operator.dev/attempt"

	// AnnotationJob holds the job as the trainer reads it.
	AnnotationJob = "training.resnet-operator.dev/job"

	// ContainerName is that of the trainer in the pod.
	ContainerName = "trainer"
	// trainerUser is the user of the trainer's image.
	trainerUser = 65532

	// DefaultGPU is the resource of a job that does not name one.
	DefaultGPU = "nvidia.com/gpu"

	// Volumes of the operator begin with resnet-; the CRD keeps others off that.
	jobVolume     = "resnet-job"
	scratchVolume = "resnet-scratch"
)

var jobDir, jobFile = path.Dir(contract.JobFile), path.Base(contract.JobFile)

// Name is unique to an attempt.
func Name(job string, attempt int32) string { return fmt.Sprintf("%s-%d", job, attempt) }

// Defaults hold where a job says nothing.
type Defaults struct {
	// Image of the trainer, and of that for NVIDIA GPUs; where the latter is empty, it is the former.
	Image, CUDAImage string
	// NoUser leaves user and groups to the platform.
	NoUser bool
}

// Build builds the Job of one attempt. It depends on nothing but its arguments.
func Build(job *v1.ResNetTrainingJob, attempt int32, defaults Defaults) (*batchv1.Job, error) {
	job = job.DeepCopy() // the API server's answer is decoded into the child, and must not reach the cache through it
	payload, err := trainerJob(job)
	if err != nil {
		return nil, err
	}
	tags := map[string]string{
		"app.kubernetes.io/name":       "resnet-trainer",
		"app.kubernetes.io/managed-by": "resnet-operator",
		LabelJobName:                   job.Name,
		LabelAttempt:                   strconv.Itoa(int(attempt)),
	}
	child := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name:            Name(job.Name, attempt),
			Namespace:       job.Namespace,
			Labels:          maps.Clone(tags),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, v1.GroupVersion.WithKind(v1.Kind))},
		},
		Spec: batchv1.JobSpec{
			CompletionMode: ptr.To(batchv1.IndexedCompletion),
			Completions:    ptr.To[int32](1),
			Parallelism:    ptr.To[int32](1),
			BackoffLimit:   ptr.To[int32](0),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: tags, Annotations: map[string]string{AnnotationJob: payload}},
				Spec:       podSpec(job, attempt, defaults),
			},
		},
	}
	extend(&child.Spec.Template, job.Spec.Template)
	distribute(job, child)
	enqueue(job, child)
	return child, nil
}

// trainerJob is the job as the trainer reads it: the spec travels whole, with the names that make its paths.
func trainerJob(job *v1.ResNetTrainingJob) (string, error) {
	b, err := json.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        map[string]string        `json:"metadata"`
		Spec            v1.ResNetTrainingJobSpec `json:"spec"`
	}{
		metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: v1.Kind},
		map[string]string{"name": job.Name, "namespace": job.Namespace, "uid": string(job.UID)},
		job.Spec,
	})
	return string(b), err
}

// podSecurity is that of a pod: never root, and the user of the trainer's image unless the platform assigns one.
func podSecurity(defaults Defaults) *corev1.PodSecurityContext {
	s := &corev1.PodSecurityContext{
		RunAsNonRoot:   ptr.To(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if !defaults.NoUser {
		user := ptr.To[int64](trainerUser)
		s.RunAsUser, s.RunAsGroup, s.FSGroup = user, user, user
	}
	return s
}

func podSpec(job *v1.ResNetTrainingJob, attempt int32, defaults Defaults) corev1.PodSpec {
	claims, requests := claims(job.Spec.Resources.ResourceClaims)
	return corev1.PodSpec{
		ResourceClaims:                claims,
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To(int64(contract.GracePeriod.Seconds())),
		// Or the trainer's container is process 1 of its own: until it has a handler, the kernel drops a SIGTERM to it, and a
		// pod that is deleted just when it starts trains on for the whole grace period.
		ShareProcessNamespace: ptr.To(true),
		SecurityContext:       podSecurity(defaults),
		Containers: []corev1.Container{{
			Name:            ContainerName,
			Image:           imageOf(job, defaults),
			ImagePullPolicy: job.Spec.ImagePullPolicy,
			Args: []string{"train", "--file=" + contract.JobFile, "--cache-dir=" + contract.ScratchDir,
				fmt.Sprintf("--serve=:%d", contract.Port)},
			Env:       env(job, attempt),
			Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: contract.Port}},
			Resources: resources(job.Spec.Resources, requests),
			ReadinessProbe: &corev1.Probe{
				ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: contract.ReadyPath, Port: intstr.FromString("http")},
				},
				// From the first step on: the kubelet would warn of a healthy pod that still reads its data. The manager hears of
				// the first step by itself.
				InitialDelaySeconds: 15,
				PeriodSeconds:       5,
			},
			TerminationMessagePath:   contract.TerminationFile,
			TerminationMessagePolicy: terminationMessagePolicy(job.Spec.KeepLogs),
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false),
				ReadOnlyRootFilesystem:   ptr.To(true),
				Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
			VolumeMounts: []corev1.VolumeMount{
				{Name: jobVolume, MountPath: jobDir, ReadOnly: true},
				{Name: scratchVolume, MountPath: contract.ScratchDir},
			},
		}},
		Volumes: []corev1.Volume{
			{Name: jobVolume, VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
				Items: []corev1.DownwardAPIVolumeFile{{
					Path:     jobFile,
					FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['" + AnnotationJob + "']"},
				}},
			}}},
			{Name: scratchVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
	}
}

func imageOf(job *v1.ResNetTrainingJob, defaults Defaults) string {
	if job.Spec.Resources.GPUs > 0 {
		return cmp.Or(job.Spec.Image, defaults.CUDAImage, defaults.Image)
	}
	return cmp.Or(job.Spec.Image, defaults.Image)
}

func env(job *v1.ResNetTrainingJob, attempt int32) []corev1.EnvVar {
	vars := []corev1.EnvVar{
		{Name: contract.EnvAttempt, Value: strconv.Itoa(int(attempt))},
		// The kubelet rounds the limit up to whole CPUs.
		{Name: "OMP_NUM_THREADS", ValueFrom: &corev1.EnvVarSource{
			ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: ContainerName, Resource: "limits.cpu"},
		}},
	}
	if s3 := job.Spec.Storage.S3; s3 != nil && s3.CredentialsSecret != nil {
		for _, key := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
			vars = append(vars, corev1.EnvVar{Name: key, ValueFrom: &corev1.EnvVarSource{
				SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: *s3.CredentialsSecret,
					Key:                  key,
					Optional:             ptr.To(key == "AWS_SESSION_TOKEN"),
				},
			}})
		}
	}
	return vars
}

// resources asks for what the pod may use at most.
func resources(r v1.ResourcesSpec, claims []corev1.ResourceClaim) corev1.ResourceRequirements {
	list := corev1.ResourceList{}
	for name, quantity := range map[corev1.ResourceName]*resource.Quantity{
		corev1.ResourceCPU: r.CPU, corev1.ResourceMemory: r.Memory, corev1.ResourceEphemeralStorage: r.EphemeralStorage,
	} {
		if quantity != nil {
			list[name] = *quantity
		}
	}
	if r.GPUs > 0 && len(claims) == 0 {
		name := corev1.ResourceName(cmp.Or(r.GPUResource, DefaultGPU))
		list[name] = *resource.NewQuantity(int64(r.GPUs), resource.DecimalSI)
	}
	return corev1.ResourceRequirements{Requests: list, Limits: list, Claims: claims}
}

// claims are the pod's, and the container's references to them.
func claims(all []v1.ResourceClaim) (pod []corev1.PodResourceClaim, container []corev1.ResourceClaim) {
	for _, c := range all {
		pod = append(pod, corev1.PodResourceClaim{
			Name: c.Name, ResourceClaimName: c.ResourceClaimName, ResourceClaimTemplateName: c.ResourceClaimTemplateName,
		})
		container = append(container, corev1.ResourceClaim{Name: c.Name, Request: c.Request})
	}
	return pod, container
}

// terminationMessagePolicy says whether the kubelet reports the end of the log of a container that failed and left no
// message.
func terminationMessagePolicy(keepLogs *bool) corev1.TerminationMessagePolicy {
	if ptr.Deref(keepLogs, true) {
		return corev1.TerminationMessageFallbackToLogsOnError
	}
	return corev1.TerminationMessageReadFile
}

// Selector matches the Jobs and pods of all ResNetTrainingJobs.
func Selector() labels.Selector {
	exists, err := labels.NewRequirement(LabelJobName, selection.Exists, nil)
	if err != nil {
		panic(err) // LabelJobName is not a label
	}
	return labels.NewSelector().Add(*exists)
}
