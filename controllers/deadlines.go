package controllers

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Three deadlines: spec.startDeadlineSeconds of an attempt, spec.progressDeadlineSeconds of its pod, and
// spec.activeDeadlineSeconds of the whole job.

// tick starts and stops the clock of spec.activeDeadlineSeconds: it stands while the job is suspended or queued, and at
// the end.
func (d *decision) tick(now time.Time) {
	stands := d.finished() || d.status.State == "" || d.status.State == v1.StateSuspended || d.status.State == v1.StateQueued
	switch since := d.status.ActiveSince; {
	case since == nil && !stands:
		d.status.ActiveSince = timeOf(now)
	case since != nil && stands:
		d.status.ActiveSeconds += seconds(now.Sub(since.Time))
		d.status.ActiveSince = nil
	}
}

// overdue ends a job that has taken too long.
func (d *decision) overdue(o observation, now time.Time) bool {
	limit, since := o.job.Spec.ActiveDeadlineSeconds, d.status.ActiveSince
	if limit == nil || since == nil {
		return false
	}
	active := d.status.ActiveSeconds + seconds(now.Sub(since.Time))
	if left := *limit - active; left > 0 {
		d.lookAgain(time.Duration(left) * time.Second)
		return false
	}
	message := fmt.Sprintf("spec.activeDeadlineSeconds of %d is over", *limit)
	if p := d.status.Progress; p != nil && p.Epoch != "" {
		message += fmt.Sprintf(" after %s epochs", p.Epoch)
	}
	if c := d.status.Checkpoint; c != nil {
		message += "; the last checkpoint on record is " + c.Name
	}
	d.fail(o, now, v1.ReasonActiveDeadline, message)
	return true
}

// neverStarted ends a job whose attempt waited too long, since the given time, for its pod to run.
func (d *decision) neverStarted(o observation, since time.Time, why string, now time.Time) bool {
	limit := o.job.Spec.StartDeadlineSeconds
	if limit == nil {
		return false
	}
	if left := time.Duration(*limit)*time.Second - now.Sub(since); left > 0 {
		d.lookAgain(left)
		return false
	}
	d.fail(o, now, v1.ReasonStartDeadline, fmt.Sprintf("no pod ran within spec.startDeadlineSeconds of %d: %s", *limit, why))
	return true
}

// releasedAt is when nothing but the cluster kept an attempt from starting: its Job was created, or left a queue. Until
// the Job controller has taken up a Job that is suspended no more, that is now.
func releasedAt(o observation, now time.Time) time.Time {
	since := o.job.Status.ActiveSince // its clock stands in a queue as well, also in that of a scheduling gate
	if since == nil {
		return now
	}
	released := latest(since.Time, o.child.CreationTimestamp.Time)
	taken := false
	for _, c := range o.child.Status.Conditions {
		if c.Type == batchv1.JobSuspended && c.Status == corev1.ConditionTrue {
			return now
		}
		if c.Type == batchv1.JobSuspended {
			released, taken = latest(released, c.LastTransitionTime.Time), true
		}
	}
	if t := o.child.Status.StartTime; t != nil {
		released, taken = latest(released, t.Time), true
	}
	if madeSuspended := o.child.Labels[labelQueue] != ""; madeSuspended && !taken {
		return now
	}
	return released
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// answerPatience is how long a trainer may be silent and still be taken at its word.
const answerPatience = time.Minute

// hung replaces a pod that runs but makes no step: it answered lately and says so, or it does not answer and its kubelet
// finds it not ready. A pod that is ready but cannot be reached by the manager is left alone.
func (d *decision) hung(o observation, a attempt, now time.Time) bool {
	limit := o.job.Spec.ProgressDeadlineSeconds
	if limit == nil || *limit == 0 || a.podIP == "" {
		return false
	}
	since := o.advanced
	if since.IsZero() { // it will be followed from now on
		since = now
	}
	deadline := time.Duration(*limit) * time.Second
	if now.Sub(o.answered) > answerPatience {
		ready, at := trainerReady(o.pod())
		if ready { // a step that it has made meanwhile will be told of once it answers again
			d.lookAgain(max(deadline-now.Sub(since), answerPatience))
			return false
		}
		since = latest(since, at)
	}
	if left := deadline - now.Sub(since); left > 0 {
		d.lookAgain(left)
		return false
	}
	message := fmt.Sprintf("no optimiser step within spec.progressDeadlineSeconds of %d: the pod is taken for hung and replaced", *limit)
	d.failed(o, attempt{reason: v1.ReasonProgressDeadline, message: message}, now)
	return true
}

func seconds(d time.Duration) int64 { return max(0, int64(d/time.Second)) }
