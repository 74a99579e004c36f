package policy

import (
	"fmt"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Decide is the whole policy: a pure function of what was observed and of the time.
func Decide(o Observation, now time.Time) Decision {
	d := begin(o, now)
	if d.finished() {
		d.deleteChild(o)
		d.expire(o, now)
		if o.Denied.Delete != "" {
			d.requeue(deniedInterval)
		}
		return d
	}
	a := assess(o, now)
	d.recordProgress(o, a.progress, now)
	d.step(o, a, now)
	d.countActive(now)
	if d.finished() {
		d.deleteChild(o)
		d.expire(o, now)
	}
	d.recordPod(o, a, now)
	if o.Denied.Delete != "" {
		d.notDeleted(o, a, now)
	}
	d.coalesce(o, a.ended, now)
	d.Status.Display = display(d.Status.Progress)
	d.hold(o, a, now)
	return d
}

// step takes the first of these that applies.
func (d *Decision) step(o Observation, a attemptStatus, now time.Time) {
	switch {
	case a.state == v1.StateSucceeded && awaitsTermination(o, now):
		d.requeue(time.Second)
	case a.state == v1.StateSucceeded:
		d.succeed(o, a, now)
	case a.state == v1.StateFailed && a.permanent:
		d.Status.Failures++
		d.fail(o, now, a.reason, a.message)
	case o.Job.Spec.Suspend:
		d.suspend(o, a, now)
	case d.activeDeadline(o, now):
	case d.Status.Attempt == 0, d.Status.State == v1.StateSuspended:
		d.start(o, now)
	case d.Status.State == v1.StateRestarting:
		d.restart(o, now)
	default:
		d.advance(o, a, now)
	}
}

// advance follows an attempt that is under way.
func (d *Decision) advance(o Observation, a attemptStatus, now time.Time) {
	switch a.state {
	case stateDisrupted:
		d.disrupted(o, a, now)
	case v1.StateFailed:
		d.failed(o, a, now)
	case stateStopping: // wait for the end, and then for its reason
		if a.startedPod != "" && (d.Status.State == v1.StatePending || d.Status.State == v1.StateQueued) { // no more
			a.reason, a.message = v1.ReasonStarting, fmt.Sprintf("pod %s stops", a.startedPod)
			d.progressing(o, now, v1.StateStarting, a)
		}
	case v1.StateQueued:
		d.queued(o, a, now)
	case v1.StatePending, v1.StateStarting:
		d.starting(o, a, now)
	case v1.StateRunning:
		if !d.progressDeadline(o, a, now) {
			d.progressing(o, now, v1.StateRunning, a)
		}
	}
	d.requeue(a.revisitIn)
	if !d.finished() && d.Status.State != v1.StateRestarting {
		d.follow(a)
	}
}

// queued waits for a queueing system.
func (d *Decision) queued(o Observation, a attemptStatus, now time.Time) {
	switch {
	case o.DeactivatedWorkload != "":
		d.Status.State = v1.StateQueued
		d.notProgressing(o, now, v1.ReasonDeactivated, fmt.Sprintf("Workload %s was deactivated, by an administrator or "+
			"because its time is over: set its spec.active to true to go on", o.DeactivatedWorkload))
		d.requeue(time.Minute)
	case o.Edited():
		d.replace(o, now)
	default:
		d.progressing(o, now, v1.StateQueued, a)
	}
}

// starting waits for the pod to run, and for what keeps it from that.
func (d *Decision) starting(o Observation, a attemptStatus, now time.Time) {
	switch {
	case a.pending && o.Edited():
		d.replace(o, now)
	case a.pending && d.startDeadline(o, o.releasedAt(now), a.message, now):
	case d.releasePods(o, a, now):
	case d.progressDeadline(o, a, now):
	case a.state == v1.StatePending: // it cannot start until somebody acts
		d.Status.State = v1.StatePending
		d.notProgressing(o, now, a.reason, a.message)
	default:
		d.progressing(o, now, v1.StateStarting, a)
	}
}
