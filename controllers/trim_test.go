package controllers

import (
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// What assess reads must survive the cache, and the bulk must not.
func TestTheCacheHoldsNoMoreThanIsRead(t *testing.T) {
	whole, err := childjob.Build(NewJob(), 1, childjob.Defaults{Image: "trainer:1"})
	if err != nil {
		t.Fatal(err)
	}
	template := whole.Spec.Template.DeepCopy()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: template.Annotations}, Spec: template.Spec}
	for _, o := range []any{whole, pod} {
		if _, err := trim(o); err != nil {
			t.Fatal(err)
		}
	}
	if whole.Spec.Template.Annotations[childjob.AnnotationJob] == "" || len(whole.Spec.Template.Spec.Containers) > 0 {
		t.Errorf("a child keeps its job and not its containers, and is %+v", whole.Spec.Template)
	}
	if c := pod.Spec.Containers[0]; c.Name != childjob.ContainerName || c.Image != "trainer:1" || c.Env != nil ||
		pod.Spec.Volumes != nil {
		t.Errorf("a pod keeps names and images of its containers only, and is %+v", pod.Spec)
	}
	if pod.Annotations[childjob.AnnotationJob] != "" {
		t.Error("the pod still carries the training job")
	}
}

// everything is a job with its child and pod, as an API server sends them.
func everything(t *testing.T, job *v1.ResNetTrainingJob) (*v1.ResNetTrainingJob, *batchv1.Job, *corev1.Pod) {
	t.Helper()
	fields := []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: metav1.NewFieldsV1(strings.Repeat("x", 4000))}}
	job.ManagedFields = fields
	job.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 1500)}
	child := MadeFor(t, job)
	child.ManagedFields = fields
	p := Pod(corev1.PodSucceeded, Exited(contract.Termination{Message: strings.Repeat("x", 1000)}))
	template := child.Spec.Template
	p.Spec, p.Annotations, p.Labels, p.ManagedFields = template.Spec, template.Annotations, template.Labels, fields
	return job, child, &p
}

// The decision on a job is the same, whether or not its objects went through the cache.
func TestWhatDecideReadsSurvivesTheCache(t *testing.T) {
	lives := func(s *v1.ResNetTrainingJobSpec) { s.TTLSecondsAfterFinished = ptr.To[int32](9) }
	for name, job := range map[string]*v1.ResNetTrainingJob{
		"running": Running(1), "finished": With(Succeeded(1), lives),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "finished" {
				job.Status.CompletionTime = &Now
			}
			job, child, p := everything(t, job)
			want := policy.Decide(observed(job.DeepCopy(), child.DeepCopy(), *p.DeepCopy()), Now.Time)
			for _, o := range []any{job, child, p} {
				if _, err := trim(o); err != nil {
					t.Fatal(err)
				}
			}
			got := policy.Decide(observed(job, child, *p), Now.Time)
			if diff := cmp.Diff(want.Status, got.Status); diff != "" || want.RequeueAfter != got.RequeueAfter {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// docs/platform.md says how much memory finished jobs need; this is the part of it that lies in the cache.
func TestAFinishedJobTakesLittleMemory(t *testing.T) {
	const n, limit = 1000, 8 << 10
	kept := make([]any, 0, 3*n)
	before := heap()
	for range n {
		done := Succeeded(1)
		done.Status.CompletionTime = &Now
		job, child, p := everything(t, done)
		Complete(child)
		for _, o := range []any{job.DeepCopy(), child.DeepCopy(), p.DeepCopy()} {
			o, err := trim(o)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, o)
		}
	}
	each := int(heap()-before) / n
	t.Logf("%d bytes a finished job", each)
	if each > limit {
		t.Errorf("%d bytes a finished job, want at most %d", each, limit)
	}
	runtime.KeepAlive(kept)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
