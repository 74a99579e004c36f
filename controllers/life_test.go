package controllers

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// world is a cluster in which anything may happen to a job, except that the Job controller works: a Job without
// retries fails with its pod and gets no second one.
type world struct {
	job      *v1.ResNetTrainingJob
	children map[int32]*batchv1.Job
	pods     map[int32]*corev1.Pod
	now      time.Time
	progress *contract.Progress
	advanced time.Time
	final    *v1.ResNetTrainingJobStatus // once the job has finished
}

// TestAnyLife lets a job live through random events and managers that die between two writes.
func TestAnyLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{job: newJob(), children: map[int32]*batchv1.Job{}, pods: map[int32]*corev1.Pod{}, now: now.Time}
		w.job.CreationTimestamp = now
		w.job.Spec.StartDeadlineSeconds = rapid.SampledFrom([]*int32{nil, ptr.To[int32](60)}).Draw(t, "start deadline")
		w.job.Spec.ActiveDeadlineSeconds = rapid.SampledFrom([]*int64{nil, ptr.To[int64](900)}).Draw(t, "active deadline")
		w.job.Spec.ProgressDeadlineSeconds = rapid.SampledFrom([]*int32{nil, ptr.To[int32](0), ptr.To[int32](120)}).Draw(t, "progress deadline")
		w.job.Spec.TTLSecondsAfterFinished = rapid.SampledFrom([]*int32{nil, ptr.To[int32](30)}).Draw(t, "time to live")
		t.Repeat(map[string]func(*rapid.T){
			"time":    w.pass,
			"suspend": func(*rapid.T) { w.job.Spec.Suspend = !w.job.Spec.Suspend; w.job.Generation++ },
			"edit": func(t *rapid.T) {
				w.job.Spec.Image = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "image")
				w.job.Generation++
			},
			"queue": w.hold,
			"pod":   w.pod, "the pod again": w.pod, "the pod once more": w.pod,
			"Job gone":  w.removeChild,
			"reconcile": w.reconcile, "and again": w.reconcile, "and once more": w.reconcile,
			"": w.check,
		})
	})
}

func (w *world) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.SampledFrom([]int{1, 5, 30, 300}).Draw(t, "seconds")) * time.Second)
}

// attempt draws one of those that have a child.
func (w *world) attempt(t *rapid.T) int32 {
	if len(w.children) == 0 {
		t.Skip("no child")
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(w.children))).Draw(t, "attempt")
}

func (w *world) hold(t *rapid.T) {
	c := w.children[w.attempt(t)]
	c.Spec.Suspend = ptr.To(!held(c))
}

// removeChild is the garbage collector, or a user.
func (w *world) removeChild(t *rapid.T) {
	n := w.attempt(t)
	delete(w.children, n)
	delete(w.pods, n)
}

// pod is the life of the pod of an attempt, a step on.
func (w *world) pod(t *rapid.T) {
	n := w.attempt(t)
	c, p := w.children[n], w.pods[n]
	if p == nil {
		if c.DeletionTimestamp == nil && !held(c) && !jobHas(c, batchv1.JobFailed) && !jobHas(c, batchv1.JobComplete) {
			made := pod(corev1.PodPending)
			made.CreationTimestamp = metav1.NewTime(w.now)
			w.pods[n] = &made
		}
		return
	}
	switch rapid.SampledFrom([]string{"blocked", "runs", "trains", "deleted", "evicted", "gone", "done", "fails", "Job follows"}).Draw(t, "pod") {
	case "blocked":
		if p.Status.Phase == corev1.PodPending {
			unschedulable("0/3")(p)
		}
	case "runs":
		if p.Status.Phase == corev1.PodPending {
			p.Status.Phase, p.Status.Conditions = corev1.PodRunning, nil
		}
	case "trains":
		if p.Status.Phase == corev1.PodRunning {
			w.progress = &contract.Progress{Attempt: n, Phase: contract.PhaseTraining, Epochs: 20, Step: rapid.Int64().Draw(t, "step"), Epoch: rapid.Int32().Draw(t, "epoch"),
				Loss: ptr.To(rapid.Float64().Draw(t, "loss")), ETASeconds: rapid.Float64().Draw(t, "eta")}
			w.advanced = w.now
		}
	case "deleted":
		deletedPod(w.now.Sub(now.Time) + 120*time.Second)(p)
	case "evicted":
		disrupted("EvictionByEvictionAPI")(p)
		deletedPod(w.now.Sub(now.Time) + 120*time.Second)(p)
	case "gone": // the Job controller sees it first
		failing(c)
		c.Status.Conditions[len(c.Status.Conditions)-1].Type = batchv1.JobFailed
		delete(w.pods, n)
	case "done":
		p.Status.Phase = corev1.PodSucceeded
		exited(contract.Termination{})(p)
	case "fails":
		if p.Status.Phase == corev1.PodRunning {
			p.Status.Phase = corev1.PodFailed
			code := rapid.SampledFrom([]int32{1, 64, 69, 74, 75, 137}).Draw(t, "exit code")
			killed("Error", code, rapid.StringN(0, 50, 200).Draw(t, "log"))(p)
		}
	case "Job follows":
		if p.Status.Phase == corev1.PodSucceeded {
			complete(c)
		} else if p.Status.Phase == corev1.PodFailed {
			failing(c)
		}
	}
}

// observe does what Reconciler.observe does.
func (w *world) observe() observation {
	o := observation{job: w.job, attempt: w.job.Status.Attempt, progress: w.progress, advanced: w.advanced}
	for _, n := range []int32{w.job.Status.Attempt + 1, w.job.Status.Attempt} {
		if c := w.children[n]; c != nil {
			o.attempt, o.child = n, c
			if p := w.pods[n]; p != nil {
				o.pods = []corev1.Pod{*p}
			}
			break
		}
	}
	return o
}

// reconcile decides, applies and writes; the manager may die in between.
func (w *world) reconcile(t *rapid.T) {
	before := w.job.Status
	d := decide(w.observe(), w.now)
	if d.create > 0 && d.create != before.Attempt+1 {
		t.Fatalf("attempt %d is created after attempt %d", d.create, before.Attempt)
	}
	if d.status.Attempt < before.Attempt || d.status.Failures < before.Failures || d.status.Disruptions < before.Disruptions {
		t.Fatalf("a count went down: %+v, before %+v", d.status, before)
	}
	if w.job.Spec.Suspend && d.create > 0 {
		t.Fatal("a suspended job begins an attempt")
	}
	if d.requeueAfter < 0 {
		t.Fatalf("look again in %s", d.requeueAfter)
	}
	if d.deleteJob && w.final == nil {
		t.Fatal("a job that has not finished is deleted")
	}
	for _, name := range d.delete {
		for n, c := range w.children {
			if c.Name == name && c.DeletionTimestamp == nil {
				c.DeletionTimestamp = ptr.To(metav1.NewTime(w.now))
				if p := w.pods[n]; p != nil && p.DeletionTimestamp == nil {
					deletedPod(w.now.Sub(now.Time) + 120*time.Second)(p)
				}
			}
		}
	}
	if d.create > 0 {
		if w.final != nil {
			t.Fatal("a finished job begins an attempt")
		}
		if w.children[d.create] == nil {
			c, err := childJob(w.job, d.create, "trainer")
			if err != nil {
				t.Fatal(err)
			}
			c.CreationTimestamp = metav1.NewTime(w.now)
			w.children[d.create] = c
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "dies") == 0 {
		return
	}
	w.job.Status = d.status
	if d.finished() && w.final == nil {
		w.final = d.status.DeepCopy()
	}
}

// check holds after every event.
func (w *world) check(t *rapid.T) {
	var working []string
	for n, c := range w.children {
		o := observation{child: c}
		if p := w.pods[n]; p != nil {
			o.pods = []corev1.Pod{*p}
		}
		if c.DeletionTimestamp == nil && live(o) && !allLost(o, w.now) && (w.pods[n] == nil || w.pods[n].DeletionTimestamp == nil) {
			working = append(working, c.Name)
		}
	}
	if len(working) > 1 {
		t.Fatalf("these work at the same time: %v", working)
	}
	if w.final != nil && !sameButProgress(*w.final, w.job.Status) {
		t.Fatalf("a finished job changed: %s", fmt.Sprint(w.job.Status.State))
	}
}
