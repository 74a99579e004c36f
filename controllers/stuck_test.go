package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// passes lets time pass in which nothing happens, but that the manager looks whenever it wants to.
func (w *world) passes(t *testing.T, d time.Duration) {
	t.Helper()
	for end := w.now().Add(d); ; w.clock.SetTime(w.now().Add(w.next)) {
		if err := w.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.next == 0 || w.now().Add(w.next).After(end) {
			w.clock.SetTime(end)
			break
		}
	}
	if len(w.broken) > 0 {
		t.Fatal(w.broken)
	}
}

// is checks what a user reads.
func (w *world) is(t *testing.T, state v1.State, reason, message string) {
	t.Helper()
	c := meta.FindStatusCondition(w.job.Status.Conditions, v1.ConditionProgressing)
	if c == nil || w.job.Status.State != state || c.Reason != reason || c.Message != message {
		t.Errorf("%s, %+v; want %s, %s: %s", w.job.Status.State, c, state, reason, message)
	}
}

// looked are the times of the lists of events.
func (w *world) looked(since time.Time) (after []time.Duration) {
	for _, at := range w.listed {
		after = append(after, at.Sub(since))
	}
	return after
}

func seconds(all ...int) (d []time.Duration) {
	for _, s := range all {
		d = append(d, time.Duration(s)*time.Second)
	}
	return d
}

func TestAHealthyStartListsNoEvents(t *testing.T) {
	for name, queue := range map[string]bool{"at once": false, "from a queue": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			defer w.r.puller.forget(team)
			if queue {
				w.job.Labels = map[string]string{childjob.LabelQueue: "team"}
			}
			w.passes(t, time.Second)
			if queue {
				w.controlJob(1)
				w.passes(t, time.Hour)
				w.children[1].Spec.Suspend = ptr.To(false)
			}
			w.passes(t, 40*time.Second) // the Job controller is behind
			w.controlJob(1)
			w.passes(t, time.Minute) // and so is the scheduler
			pod := w.pods[1][0]
			w.schedule(pod)
			w.passes(t, 1900*time.Millisecond) // the node mounts volumes
			w.prepare(pod)
			w.passes(t, 5*time.Minute) // and pulls the image
			w.start(1, pod)
			w.passes(t, time.Minute)
			if s := w.job.Status; s.State != v1.StateStarting || s.PodName != pod.Name || len(w.listed) > 0 {
				t.Errorf("%s in pod %q, and events were listed at %s", s.State, s.PodName, w.listed)
			}
		})
	}
}

func TestARefusedPodIsTold(t *testing.T) {
	const why = "the pod cannot be created: exceeded quota: team"
	w := newWorld()
	w.quota = true
	w.passes(t, time.Second)
	w.controlJob(1)
	began := w.now()
	w.passes(t, 2*time.Second)
	w.is(t, v1.StatePending, v1.ReasonPodRefused, why)
	w.passes(t, 120*time.Second)
	w.is(t, v1.StatePending, v1.ReasonPodRefused, why)
	if diff := cmp.Diff(seconds(2, 4, 8, 16, 30, 60, 90, 120), w.looked(began)); diff != "" {
		t.Errorf("events are listed so long after the Job controller took up the Job, -want +got:\n%s", diff)
	}
	w.quota, w.listed = false, nil
	w.controlJob(1)
	w.passes(t, time.Hour)
	w.is(t, v1.StateStarting, v1.ReasonStarting, "pod "+w.pods[1][0].Name+" starts")
	if len(w.listed) > 0 {
		t.Errorf("events were listed at %s, when there was a pod", w.listed)
	}
}

func TestAMissingVolumeIsTold(t *testing.T) {
	const failed = `MountVolume.SetUp failed for volume "tls" : secret "ca" not found`
	w := newWorld()
	w.passes(t, time.Second)
	w.controlJob(1)
	pod := w.pods[1][0]
	w.passes(t, time.Minute)
	w.schedule(pod)
	began := w.now()
	w.tell("Pod", "FailedMount", pod.UID, failed)
	w.passes(t, 2*time.Second)
	w.is(t, v1.StatePending, v1.ReasonPodConfig, "the pod waits for something that spec.template.volumes names: "+failed)
	w.passes(t, 60*time.Second)
	if diff := cmp.Diff(seconds(2, 4, 8, 16, 30, 60), w.looked(began)); diff != "" {
		t.Errorf("events are listed so long after the pod got its node, -want +got:\n%s", diff)
	}
	w.prepare(pod)
	w.passes(t, time.Hour)
	w.is(t, v1.StateStarting, v1.ReasonStarting, "pod "+pod.Name+" starts")
	if n := len(w.listed); n != 6 {
		t.Errorf("events were listed %d times more, when the volume was there", n-6)
	}
}

// A manager that may not read events, or gets no answer, does all the rest.
func TestEventsThatCannotBeReadKeepNothingUp(t *testing.T) {
	w := newWorld()
	w.quota, w.secret = true, true
	w.passes(t, time.Second)
	w.controlJob(1)
	began := w.now()
	w.passes(t, 30*time.Second)
	w.is(t, v1.StateStarting, v1.ReasonAttemptCreated, "attempt 1 created")
	w.passes(t, 60*time.Second)
	w.is(t, v1.StatePending, v1.ReasonPodRefused, "no pod was created; a quota or an admission rule may refuse it: "+
		"kubectl -n team describe job net-1")
	if n := len(w.looked(began)); n > 4 {
		t.Errorf("%d lists in 90 s, of which each failed", n)
	}
	w.secret = false
	w.passes(t, 30*time.Second)
	w.is(t, v1.StatePending, v1.ReasonPodRefused, "the pod cannot be created: exceeded quota: team")
}
