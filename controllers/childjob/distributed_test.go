package childjob

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

func TestSeveralPodsAreOneIndexedJob(t *testing.T) {
	job := newJob()
	one := madeFor(t, job)
	job.Spec.Distributed = &v1.DistributedSpec{Pods: 4, ProcessesPerPod: 2}
	got := madeFor(t, job)

	want := one.DeepCopy()
	want.Spec.Completions, want.Spec.Parallelism = ptr.To[int32](4), ptr.To[int32](4)
	want.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: ptr.To("0")}}}
	pod := &want.Spec.Template
	pod.Annotations = got.Spec.Template.Annotations // the spec travels whole
	pod.Spec.Affinity = &corev1.Affinity{PodAffinity: together(got)}
	trainer := &pod.Spec.Containers[0]
	trainer.Args = append(trainer.Args,
		"--processes=2", "--nnodes=4", "--node-rank=$(JOB_COMPLETION_INDEX)", "--node-address=$(POD_IP)")
	trainer.Env = append(trainer.Env, corev1.EnvVar{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"},
	}})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSeveralProcessesOfOnePod(t *testing.T) {
	job := newJob()
	job.Spec.Distributed = &v1.DistributedSpec{Pods: 1, ProcessesPerPod: 2}
	got := madeFor(t, job)
	if args := got.Spec.Template.Spec.Containers[0].Args; args[len(args)-1] != "--processes=2" {
		t.Errorf("args %q: want --processes=2 at the end", args)
	}
	if *got.Spec.Completions != 1 || got.Spec.SuccessPolicy != nil {
		t.Errorf("%d completions, %v: want the Job of one pod", *got.Spec.Completions, got.Spec.SuccessPolicy)
	}
}

// Whoever says where pods go near other pods knows better.
func TestPodAffinityOfTheTemplateStays(t *testing.T) {
	theirs := &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{TopologyKey: "rack"},
	}}
	job := newJob()
	job.Spec.Distributed = &v1.DistributedSpec{Pods: 2, ProcessesPerPod: 1}
	job.Spec.Template = &v1.PodTemplate{Affinity: &corev1.Affinity{PodAffinity: theirs}}
	if diff := cmp.Diff(theirs, madeFor(t, job).Spec.Template.Spec.Affinity.PodAffinity); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestIndex(t *testing.T) {
	indices := []int{}
	for _, label := range []string{"3", "0", ""} {
		pod := &corev1.Pod{}
		pod.Labels = map[string]string{batchv1.JobCompletionIndexAnnotation: label}
		indices = append(indices, Index(pod))
	}
	if !slices.Equal(indices, []int{3, 0, -1}) {
		t.Errorf("%v, want 3, 0, -1", indices)
	}
}

// TestSeveralGPUs: one process for each, with memory for what they exchange.
func TestSeveralGPUs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1.ResNetTrainingJobSpec)
		args   string // of the processes
		pods   int32
		shm    int // mounts at /dev/shm
	}{
		"one":  {func(s *v1.ResNetTrainingJobSpec) { s.Resources.GPUs = 1 }, "", 1, 0},
		"four": {func(s *v1.ResNetTrainingJobSpec) { s.Resources.GPUs = 4 }, "--processes=4", 1, 1},
		"two pods of one": {func(s *v1.ResNetTrainingJobSpec) {
			s.Resources.GPUs, s.Distributed = 1, &v1.DistributedSpec{Pods: 2, ProcessesPerPod: 1, Encryption: ptr.To(false)}
		}, "--processes=1 --nnodes=2 --node-rank=$(JOB_COMPLETION_INDEX) --node-address=$(POD_IP)", 2, 0},
		"the platform's memory": {func(s *v1.ResNetTrainingJobSpec) {
			s.Resources.GPUs = 2
			s.Template = &v1.PodTemplate{VolumeMounts: []v1.VolumeMount{{Name: "shm", MountPath: "/dev/shm"}}}
		}, "--processes=2", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			spec := madeFor(t, with(newJob(), c.change)).Spec
			trainer := spec.Template.Spec.Containers[0]
			var args []string
			for _, arg := range trainer.Args {
				if strings.HasPrefix(arg, "--processes") || strings.HasPrefix(arg, "--n") {
					args = append(args, arg)
				}
			}
			if got := strings.Join(args, " "); got != c.args || *spec.Completions != c.pods || *spec.Parallelism != c.pods {
				t.Errorf("%q for %d pods", got, *spec.Completions)
			}
			mounts := 0
			for _, m := range trainer.VolumeMounts {
				if m.MountPath == "/dev/shm" {
					mounts++
				}
			}
			if mounts != c.shm {
				t.Errorf("%d mounts at /dev/shm", mounts)
			}
		})
	}
}

// TestImages: a job names its own, or has the operator's for its device.
func TestImages(t *testing.T) {
	for _, c := range []struct {
		own      string
		gpus     int32
		defaults Defaults
		want     string
	}{
		{"", 0, Defaults{Image: "cpu", CUDAImage: "cuda"}, "cpu"},
		{"", 1, Defaults{Image: "cpu", CUDAImage: "cuda"}, "cuda"},
		{"", 1, Defaults{Image: "both"}, "both"},
		{"own", 1, Defaults{Image: "cpu", CUDAImage: "cuda"}, "own"},
	} {
		job := with(newJob(), func(s *v1.ResNetTrainingJobSpec) { s.Image, s.Resources.GPUs = c.own, c.gpus })
		child, err := Build(job, 1, c.defaults)
		if err != nil {
			t.Fatal(err)
		}
		if got := child.Spec.Template.Spec.Containers[0].Image; got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
