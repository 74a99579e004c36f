package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// How a pod ended is known as long as its attempt is the newest one, also once the pod is gone.
func TestPodsThatHaveEndedAreRemembered(t *testing.T) {
	pod := func(phase corev1.PodPhase, index int, uid types.UID) corev1.Pod {
		return Pod(phase, Index(index), func(p *corev1.Pod) { p.UID = uid })
	}
	evicted, runs := pod(corev1.PodFailed, 0, "a"), pod(corev1.PodRunning, 1, "b")
	next := Child(2, func(j *batchv1.Job) { j.UID = "c-2" })
	two, one := Distributed(Running(1), 2), Running(1)

	var ended endedPods
	for _, step := range []struct {
		name  string
		job   *v1.ResNetTrainingJob
		child *batchv1.Job
		pods  []corev1.Pod
		want  []corev1.Pod
	}{
		{"both are there", two, Child(1), []corev1.Pod{evicted, runs}, nil},
		{"one is gone", two, Child(1), []corev1.Pod{runs}, []corev1.Pod{evicted}},
		{"one that ran is gone: nobody knows how it ended", two, Child(1), nil, []corev1.Pod{evicted}},
		{"the next attempt", two, next, nil, nil},
		{"one of its pods has ended", two, next, []corev1.Pod{evicted}, nil},
		{"the child is deleted", two, nil, nil, nil},
		{"it is there again", two, next, nil, nil},
		{"a job of one pod", one, Child(1), []corev1.Pod{evicted}, nil},
		{"its pod is gone", one, Child(1), nil, nil},
	} {
		o := policy.Observation{Job: step.job, Child: step.child, Pods: step.pods}
		ended.observe(&o)
		if diff := cmp.Diff(step.want, o.Gone); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if len(ended.jobs) > 0 {
		t.Errorf("remembered for ever: %v", ended.jobs)
	}
}
