package controllers

import (
	"errors"
	"flag"
	"maps"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// TestAnyLife lets a job live through random events, in any order: queues, Gates, partitions, policies, deletion, and
// managers that die between two writes.
func TestAnyLife(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue { // not enough to meet what is rare
		if err := checks.Value.Set("4000"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		defer func() { w.r.puller.forget(team) }()
		spec := &w.job.Spec
		spec.StartDeadlineSeconds = rapid.SampledFrom([]*int32{nil, ptr.To[int32](60)}).Draw(t, "start deadline")
		spec.ActiveDeadlineSeconds = rapid.SampledFrom([]*int64{nil, ptr.To[int64](9000)}).Draw(t, "active deadline")
		progressDeadlines := []*int32{nil, ptr.To[int32](0), ptr.To[int32](120), ptr.To[int32](120)}
		spec.ProgressDeadlineSeconds = rapid.SampledFrom(progressDeadlines).Draw(t, "progress deadline")
		spec.TTLSecondsAfterFinished = rapid.SampledFrom([]*int32{nil, ptr.To[int32](30)}).Draw(t, "time to live")
		if rapid.Bool().Draw(t, "queue") {
			w.job.Labels = map[string]string{childjob.LabelQueue: "team"}
		}
		if rapid.Bool().Draw(t, "two pods") {
			w.ranks = 2
			Distributed(w.job, 2)
		}
		template := w.job.DeepCopy()
		l := life{w}
		actions := map[string]func(*rapid.T){
			"time":    l.pass,
			"suspend": l.edit(func(*rapid.T) { w.job.Spec.Suspend = !w.job.Spec.Suspend }),
			"edit": l.edit(func(t *rapid.T) {
				w.job.Spec.Image = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "image")
			}),
			"queue": l.queue, "Job controller": l.control, "Job controller again": l.control,
			"pod": l.pod, "the pod again": l.pod, "the pod once more": l.pod,
			"Job gone":  l.removeChild,
			"partition": l.part, "heal": func(*rapid.T) { w.partition = false },
			"pull": func(t *rapid.T) { w.pull(t.Context()) }, "pull again": func(t *rapid.T) { w.pull(t.Context()) },
			"policy": func(t *rapid.T) {
				w.refuses, w.keeps = rapid.Bool().Draw(t, "refuses"), rapid.Bool().Draw(t, "keeps")
			},
			"quota": func(t *rapid.T) {
				w.quota, w.secret = rapid.Bool().Draw(t, "quota"), rapid.Bool().Draw(t, "no events")
			},
			"job gone": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "patience") == 0 {
					w.remove()
				}
			},
			"job again": func(*rapid.T) {
				if w.job == nil {
					w.create()
					w.job.Spec, w.job.Labels = *template.Spec.DeepCopy(), template.Labels
				}
			},
			"as usual": l.asUsual, "as usual again": l.asUsual, "as usual once more": l.asUsual,
			"manager dies": func(*rapid.T) { w.restart() },
			"reconcile":    l.reconcile, "and again": l.reconcile, "and once more": l.reconcile,
			"": l.check,
		}
		for range 4 { // a long life
			t.Repeat(actions)
		}
	})
}

// life is what happens to a world.
type life struct{ *world }

func (l life) pass(t *rapid.T) {
	l.clock.SetTime(l.now().Add(time.Duration(rapid.SampledFrom([]int{1, 5, 30, 300}).Draw(t, "seconds")) * time.Second))
}

func (l life) edit(change func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) {
		if l.job == nil {
			t.Skip("no job")
		}
		change(t)
		l.job.Generation++
	}
}

// attempt draws one of those that have a child.
func (l life) attempt(t *rapid.T) int32 {
	if len(l.children) == 0 {
		t.Skip("no child")
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(l.children))).Draw(t, "attempt")
}

// queue is Kueue: it holds a Job back, and lets it go.
func (l life) queue(t *rapid.T) {
	n := l.attempt(t)
	c := l.children[n]
	if jobEnds(c) {
		t.Skip("it has ended")
	}
	c.Spec.Suspend = ptr.To(!childjob.Suspended(c))
	l.released[n] = l.now()
	if childjob.Suspended(c) && (c.Status.StartTime != nil || c.Labels[childjob.LabelQueue] == "") {
		l.controlJob(n) // what nobody saw, nobody can know
	}
}

func (l life) control(t *rapid.T) { l.controlJob(l.attempt(t)) }

// removeChild is the garbage collector, or a user.
func (l life) removeChild(t *rapid.T) {
	n := l.attempt(t)
	delete(l.children, n)
	delete(l.pods, n)
}

// steps in the life of a pod; what happens often stands there more than once.
var steps = []string{"runs", "runs", "trains", "trains", "trains", "blocked", "gated", "let through", "let through",
	"scheduled", "waits for a volume", "deleted", "evicted", "gone", "done", "fails", "follows", "follows"}

// pod is the life of the newest pod of an attempt, or of any of two, a step on.
func (l life) pod(t *rapid.T) {
	n := l.attempt(t)
	if len(l.pods[n]) == 0 {
		t.Skip("no pod")
	}
	last := len(l.pods[n]) - 1
	if l.ranks > 1 {
		last = rapid.IntRange(0, last).Draw(t, "which")
	}
	p := l.pods[n][last]
	pending, runs := p.Status.Phase == corev1.PodPending, p.Status.Phase == corev1.PodRunning
	switch step := rapid.SampledFrom(steps).Draw(t, "pod"); {
	case step == "blocked" && pending && !childjob.Gated(p):
		p.Status.Conditions = nil
		Unschedulable("0/3")(p)
	case step == "scheduled" && pending && len(p.Status.Conditions) == 0:
		l.schedule(p)
	case step == "waits for a volume" && pending && len(p.Status.Conditions) == 2:
		l.tell("Pod", "FailedMount", p.UID, `MountVolume.SetUp failed for volume "tls" : secret "ca" not found`)
	case step == "gated" && pending && len(p.Status.Conditions) == 0:
		Gates(p)
	case step == "let through" && childjob.Gated(p):
		p.Status.Conditions = nil
		l.released[n] = l.now()
	case step == "runs" && pending && !childjob.Gated(p):
		l.start(n, p)
	case step == "trains" && runs && l.together(n):
		l.train(t, p)
	case step == "deleted" && (l.ranks == 1 || !childjob.PodEnded(p)): // when an ended pod was, nobody can know
		l.stop(p)
	case step == "evicted" && !childjob.PodEnded(p):
		Disrupted("EvictionByEvictionAPI")(p)
		l.stop(p)
	case step == "follows" && runs && l.ranks > 1:
		l.follow(n, p)
	case step == "gone": // the Job controller lets it go once it has counted it
		if c := l.children[n]; !childjob.Suspended(c) && !jobEnds(c) {
			c.Status.Conditions = append(c.Status.Conditions,
				batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue})
		}
		l.pods[n] = slices.Delete(l.pods[n], last, last+1)
		if jobEnds(l.children[n]) {
			l.stopAll(n)
		}
	case step == "done" && runs:
		p.Status.Phase = corev1.PodSucceeded
		Exited(contract.Termination{})(p)
	case step == "fails" && runs:
		code := rapid.SampledFrom([]int32{1, 64, 69, 74, 75, 137}).Draw(t, "exit code")
		l.end(p, code, rapid.StringN(0, 50, 200).Draw(t, "log"))
	}
}

// end a trainer with a code. Nothing but what is permanent is the fault of a pod that was deleted, and nothing of one that
// was evicted.
func (l life) end(p *corev1.Pod, code int32, log string) {
	p.Status.Phase = corev1.PodFailed
	if code == int32(contract.ExitStopped) {
		log = string(contract.Termination{ExitCode: contract.ExitStopped, Interrupted: true}.Marshal())
	}
	Killed("Error", code, log)(p)
	evicted := childjob.PodHas(p, corev1.DisruptionTarget) != nil
	l.fault[p.Name] = p.DeletionTimestamp == nil || contract.ExitCode(code).Permanent() && !evicted
}

// together reports whether all pods of an attempt run: before, none of them trains.
func (l life) together(n int32) bool {
	return len(l.pods[n]) == l.ranks && !slices.ContainsFunc(l.pods[n], func(p *corev1.Pod) bool {
		return p.Status.Phase != corev1.PodRunning
	})
}

// follow ends a pod because of another one: in order if that was told to end and said so, else because it was lost.
func (l life) follow(n int32, p *corev1.Pod) {
	ended, told := len(l.pods[n]) < l.ranks, p.DeletionTimestamp != nil
	for _, other := range l.pods[n] {
		ended = ended || childjob.PodEnded(other) && !childjob.Succeeded(other)
		told = told || other.DeletionTimestamp != nil && !l.fault[other.Name]
	}
	switch {
	case told:
		p.Status.Phase = corev1.PodFailed
		Exited(contract.Termination{ExitCode: contract.ExitStopped, Interrupted: p.DeletionTimestamp != nil})(p)
	case ended:
		l.end(p, int32(contract.ExitPeerLost), "")
		l.fault[p.Name] = false
	}
}

// asUsual takes an attempt to where it trains, and the manager sees it.
func (l life) asUsual(t *rapid.T) {
	n := l.attempt(t)
	if c := l.children[n]; childjob.Suspended(c) || jobEnds(c) || c.DeletionTimestamp != nil {
		t.Skip("it does not run")
	}
	l.controlJob(n)
	for _, p := range l.pods[n] {
		switch {
		case p.DeletionTimestamp != nil || childjob.Gated(p):
		case p.Status.Phase == corev1.PodPending:
			l.start(n, p)
		case p.Status.Phase == corev1.PodRunning && l.together(n):
			l.train(t, p)
		}
	}
	l.reconcile(t)
	l.pull(t.Context())
}

// part keeps the manager from all pods, for long. What trains goes on.
func (l life) part(t *rapid.T) {
	l.partition = true
	l.clock.SetTime(l.now().Add(5 * time.Minute))
	for _, n := range slices.Sorted(maps.Keys(l.pods)) {
		for _, p := range l.pods[n] {
			if trainer := l.trainers[p.Name]; p.Status.Phase == corev1.PodRunning && trainer.progress.Step > 0 {
				l.train(t, p)
			}
		}
	}
}

// train makes a step, which a ready pod has made.
func (l life) train(t *rapid.T, p *corev1.Pod) {
	trainer := l.trainers[p.Name]
	trainer.stepAt = l.now()
	progress := &trainer.progress
	progress.Phase, progress.Epochs, progress.FirstStepTime = contract.PhaseTraining, 20, &trainer.stepAt
	progress.Step++
	progress.Epoch = int32(min(progress.Step/5, 20))
	progress.Loss, progress.ETASeconds = ptr.To(rapid.Float64().Draw(t, "loss")), rapid.Float64().Draw(t, "eta")
	if ready, _ := childjob.TrainerReady(p); !ready {
		p.Status.Conditions = nil
		ReadyPod(p)
		p.Status.Conditions[0].LastTransitionTime = l.stamp()
	}
}

func (l life) reconcile(t *rapid.T) {
	l.dies = rapid.IntRange(0, 4).Draw(t, "dies") == 0
	err := l.world.reconcile(t.Context())
	if err != nil && !errors.Is(err, errDied) && !l.keeps {
		t.Fatal(err)
	}
	if err != nil || l.dies {
		return
	}
	for _, e := range l.r.puller.snapshot() {
		if l.job == nil || e.run.UID != l.job.UID {
			t.Fatalf("the pod of a job that is gone is asked: %s of %s", e.pod, e.run.UID)
		}
	}
	l.onePodAnAttempt(t)
}

// onePodAnAttempt: once the trainer has run in a pod, the attempt ends with it, whatever the Job controller does.
func (l life) onePodAnAttempt(t *rapid.T) {
	if l.job == nil || l.final != nil || l.keeps {
		return
	}
	n := l.job.Status.Attempt
	under := []v1.State{v1.StatePending, v1.StateQueued, v1.StateStarting, v1.StateRunning}
	if c := l.children[n]; c == nil || c.DeletionTimestamp != nil || !slices.Contains(under, l.job.Status.State) {
		return
	}
	seen := l.r.puller.snapshot()
	recorded := l.job.Status.PodName
	if recorded == "" && len(seen) > 0 {
		recorded = seen[0].pod
	}
	if recorded != "" && l.gone(recorded) && !jobEnds(l.children[n]) {
		t.Fatalf("attempt %d goes on without its pod %s", n, recorded)
	}
}

// check holds after every event.
func (l life) check(t *rapid.T) {
	if len(l.broken) > 0 {
		t.Fatal(l.broken)
	}
	var working []string
	for n, c := range l.children {
		o := policy.Observation{Job: l.job, Child: c, Attempt: n}
		for _, p := range l.pods[n] {
			o.Pods = append(o.Pods, *p)
		}
		stays := func(p corev1.Pod) bool { return p.DeletionTimestamp == nil }
		leaves := len(o.Pods) > 0 && !slices.ContainsFunc(o.Pods, stays)
		if c.DeletionTimestamp == nil && works(o, l.now()) && !leaves {
			working = append(working, c.Name)
		}
	}
	if len(working) > 1 {
		t.Fatalf("these work at the same time: %v", working)
	}
}
