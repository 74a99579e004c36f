package policy

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestTheLongerItIsStuckTheFewerTheLooks(t *testing.T) {
	const s = time.Second
	for stuck, want := range map[time.Duration]time.Duration{
		-3 * s: 2 * s, 0: 2 * s, s: s, 2 * s: 2 * s, 3 * s: s, 4 * s: 4 * s, 8*s + 1: 8*s - 1, 16 * s: 14 * s, 29 * s: s,
		30 * s: 30 * s, 59 * s: s, 60 * s: 30 * s, 3601 * s: 29 * s,
	} {
		if got := nextLook(stuck); got != want {
			t.Errorf("%s after it was stuck: in %s, want %s", stuck, got, want)
		}
	}
}

func TestWhenEventsAreRead(t *testing.T) {
	unprepared := func(since time.Duration) corev1.Pod {
		return Pod(corev1.PodPending,
			Condition(corev1.PodReadyToStartContainers, corev1.ConditionFalse, "", ""),
			func(p *corev1.Pod) {
				p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
					Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: After(-since),
				})
			})
	}
	failed := func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions,
			batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue})
	}
	finished := Starting(1)
	finished.Status.State, finished.Status.CompletionTime = v1.StateFailed, &Now
	stuck := TakenUp(2 * time.Second)
	for name, c := range map[string]struct {
		o             Observation
		create, mount bool
	}{
		"no pod":                             {observed(Starting(1), Child(1, stuck)), true, false},
		"no pod yet":                         {observed(Starting(1), Child(1, TakenUp(1999*time.Millisecond))), false, false},
		"no child":                           {observed(Starting(1)), false, false},
		"the Job controller has not seen it": {observed(Starting(1), Child(1, Created(-time.Hour))), false, false},
		"a pod that is not in the cache yet": {observed(Starting(1), Child(1, stuck, HasPod)), false, false},
		"a queue":                            {observed(Starting(1), Child(1, stuck, SuspendedChild)), false, false},
		"a queue until now": {
			observed(Starting(1), Child(1, stuck, JobSuspended(corev1.ConditionTrue, time.Hour))), false, false},
		"a Job that is going":     {observed(Starting(1), Child(1, stuck, DeletedChild)), false, false},
		"a Job that failed":       {observed(Starting(1), Child(1, stuck, failed)), false, false},
		"an attempt that ran":     {observed(Running(1), Child(1, stuck)), false, false},
		"a job that has finished": {observed(finished, Child(1, stuck)), false, false},
		"a pod waits for a node":  {observed(Starting(1), Child(1, stuck), Pod(corev1.PodPending)), false, false},
		"a pod has no node": {
			observed(Starting(1), Child(1, stuck), Pod(corev1.PodPending, Unschedulable("0/3"))), false, false},
		"the node prepares the pod": {observed(Starting(1), Child(1, stuck), unprepared(1999*time.Millisecond)),
			false, false},
		"for long": {observed(Starting(1), Child(1, stuck), unprepared(2*time.Second)), false, true},
		"for long, and a queue takes it back": {
			observed(Starting(1), Child(1, SuspendedChild), unprepared(time.Minute)), false, false},
		"for long, and the Job is going": {observed(Starting(1), Child(1, DeletedChild), unprepared(time.Minute)), false,
			false},
		"for long, and the job has finished": {observed(finished, Child(1), unprepared(time.Minute)), false, false},
		"the pod pulls its image": {
			observed(Starting(1), Child(1), Pod(corev1.PodPending, Waiting("ContainerCreating", ""))), false, false},
		"the pod runs":       {observed(Starting(1), Child(1, HasPod), Pod(corev1.PodRunning)), false, false},
		"the pod has failed": {observed(Starting(1), Child(1), ended(unprepared(time.Minute))), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			create, mount := c.o.AsksFailedCreate(Now.Time), c.o.Unprepared(Now.Time) != nil
			if create != c.create || mount != c.mount {
				t.Errorf("FailedCreate %v, FailedMount %v; want %v, %v", create, mount, c.create, c.mount)
			}
		})
	}
}

func ended(p corev1.Pod) corev1.Pod {
	p.Status.Phase = corev1.PodFailed
	return p
}
