package policy

import (
	"fmt"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// Three deadlines: spec.startDeadlineSeconds of an attempt, spec.progressDeadlineSeconds of its pod, and
// spec.activeDeadlineSeconds of the whole job.

// countActive starts and stops the clock of spec.activeDeadlineSeconds: it stands while the job is suspended or queued,
// and at the end.
func (d *Decision) countActive(now time.Time) {
	s := d.Status.State
	stands := d.finished() || s == "" || s == v1.StateSuspended || s == v1.StateQueued
	switch since := d.Status.ActiveStartTime; {
	case since == nil && !stands:
		d.Status.ActiveStartTime = timeOf(now)
	case since != nil && stands:
		d.Status.ActiveSeconds += seconds(now.Sub(since.Time))
		d.Status.ActiveStartTime = nil
	}
}

// activeDeadline ends a job that has taken too long.
func (d *Decision) activeDeadline(o Observation, now time.Time) bool {
	limit, since := o.Job.Spec.ActiveDeadlineSeconds, d.Status.ActiveStartTime
	if limit == nil || since == nil {
		return false
	}
	active := d.Status.ActiveSeconds + seconds(now.Sub(since.Time))
	if left := *limit - active; left > 0 {
		d.requeue(time.Duration(left) * time.Second)
		return false
	}
	message := fmt.Sprintf("spec.activeDeadlineSeconds of %d is over", *limit)
	if p := d.Status.Progress; p != nil {
		message += fmt.Sprintf(" after %d/%d epochs", p.Epoch, p.Epochs)
	}
	if c := d.Status.Checkpoint; c != nil {
		message += "; the last checkpoint on record is " + c.Name
	}
	d.fail(o, now, v1.ReasonActiveDeadline, message)
	return true
}

// startDeadline ends a job whose attempt waited too long, since the given time, for its pod to run.
func (d *Decision) startDeadline(o Observation, since time.Time, why string, now time.Time) bool {
	limit := o.Job.Spec.StartDeadlineSeconds
	if limit == nil {
		return false
	}
	if left := time.Duration(*limit)*time.Second - now.Sub(since); left > 0 {
		d.requeue(left)
		return false
	}
	message := fmt.Sprintf("no pod ran within spec.startDeadlineSeconds of %d: %s", *limit, why)
	d.fail(o, now, v1.ReasonStartDeadline, message)
	return true
}

// AnswerTimeout is how long ago the last answer of a trainer may be that still counts.
const AnswerTimeout = time.Minute

// progressDeadline replaces a pod that runs but makes no step: it answered lately and says so, or it does not answer
// and its kubelet finds it not ready. A pod that is ready but cannot be reached by the manager is left alone.
func (d *Decision) progressDeadline(o Observation, a attemptStatus, now time.Time) bool {
	limit := o.Job.Spec.ProgressDeadlineSeconds
	if limit == nil || *limit == 0 || a.podIP == "" {
		return false
	}
	since := o.Advanced
	if since.IsZero() { // it will be followed from now on
		since = now
	}
	deadline := time.Duration(*limit) * time.Second
	if now.Sub(o.Answered) > AnswerTimeout {
		ready, at := childjob.TrainerReady(o.Pod())
		if ready { // a step that it has made meanwhile will be seen once it answers again
			d.requeue(max(deadline-now.Sub(since), AnswerTimeout))
			return false
		}
		since = latest(since, at)
	}
	if left := deadline - now.Sub(since); left > 0 {
		d.requeue(left)
		return false
	}
	message := fmt.Sprintf("no optimiser step within spec.progressDeadlineSeconds of %d: "+
		"the pod is taken for hung and replaced", *limit)
	d.failed(o, attemptStatus{reason: v1.ReasonProgressDeadline, message: message}, now)
	return true
}

func seconds(d time.Duration) int64 { return max(0, int64(d/time.Second)) }
