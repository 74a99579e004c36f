package childjob

import (
	"slices"
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
