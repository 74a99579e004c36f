package controllers

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Each function here is one arrow in the life of a job: the state, the conditions, and at most one event.

// begun: attempt n exists.
func (d *decision) begun(o observation, n int32, now time.Time) {
	d.status.Attempt = n
	d.status.State = v1.StateStarting
	d.status.PodName = ""
	d.status.RetryTime = nil
	d.status.AttemptStartTime = timeOf(now)
	if d.status.StartTime == nil {
		d.status.StartTime = timeOf(now)
	}
	message := fmt.Sprintf("attempt %d created", n)
	if c := d.status.Checkpoint; c != nil {
		message += ": resumes from checkpoint " + c.Name
	}
	if meta.IsStatusConditionTrue(d.status.Conditions, v1.ConditionSuspended) {
		d.condition(o, now, v1.ConditionSuspended, metav1.ConditionFalse, v1.ReasonResumed, "spec.suspend is false")
	}
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, v1.ReasonAttemptCreated, message)
	d.normal(v1.ReasonAttemptCreated, message)
	d.compute(o)
}

// progressing: the attempt is on its way.
func (d *decision) progressing(o observation, now time.Time, state v1.State, a attempt) {
	if state == v1.StateStarting && d.status.State == v1.StateRunning {
		return // a probe that failed once does not undo the start
	}
	waiting := waitingFor(a.progress, o.job, now)
	if state == d.status.State && meta.IsStatusConditionTrue(d.status.Conditions, v1.ConditionProgressing) && d.sameWait(waiting) {
		return // a new pod name or a finer reason is not worth a write
	}
	d.status.State = state
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, a.reason, a.message+waiting)
	if state == v1.StateQueued {
		d.normal(a.reason, a.message)
	}
}

// blocked: the attempt cannot start until somebody acts.
func (d *decision) blocked(o observation, now time.Time, a attempt) {
	d.status.State = v1.StatePending
	d.explain(o, now, a)
}

// rewordInterval is the least time between two writes that change nothing but the words of what is waited for: those of
// the scheduler change with every node and every pod.
const rewordInterval = time.Minute

// explain says what is waited for; once, while it stays the same.
func (d *decision) explain(o observation, now time.Time, a attempt) {
	old := meta.FindStatusCondition(d.status.Conditions, v1.ConditionProgressing)
	wait := rewordInterval - now.Sub(o.explainedAt)
	switch {
	case old == nil || old.Reason != a.reason:
		d.warn(a.reason, a.message)
	case sameButNumbers(old.Message, clean(a.message)):
		a.message = old.Message
	case wait > 0 && a.reason == v1.ReasonUnschedulable:
		a.message = old.Message
		d.lookAgain(wait)
	}
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionFalse, a.reason, a.message)
}

// succeed: the model is saved.
func (d *decision) succeed(o observation, a attempt, now time.Time) {
	d.status.State = v1.StateSucceeded
	if a.artifacts != nil {
		d.status.Artifacts = artifactsOf(*a.artifacts, o.job)
	}
	for n := int32(1); n < o.attempt; n++ { // one that failed was kept for its log, which is in the bucket as well
		d.delete = append(d.delete, childName(o.job.Name, n))
	}
	d.end(o, now, v1.ConditionComplete, v1.ReasonSucceeded, a.message)
	message := a.message
	if p := d.status.Progress; p != nil && p.Accuracy != "" {
		message = fmt.Sprintf("%s: accuracy %s after %s epochs", message, p.Accuracy, p.Epoch)
	}
	d.normal(v1.ReasonSucceeded, message)
}

// fail: the job is given up.
func (d *decision) fail(o observation, now time.Time, reason, message string) {
	d.status.State = v1.StateFailed
	d.end(o, now, v1.ConditionFailed, reason, message)
	d.warn(reason, message)
}

func (d *decision) end(o observation, now time.Time, condition, reason, message string) {
	d.status.CompletionTime = timeOf(now)
	d.status.RetryTime = nil
	if d.status.Progress != nil {
		d.status.Progress.ETA = ""
	}
	d.condition(o, now, condition, metav1.ConditionTrue, reason, message)
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionFalse, reason, "finished")
}

func (d *decision) condition(o observation, now time.Time, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&d.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: clean(message), ObservedGeneration: o.job.Generation,
		LastTransitionTime: *timeOf(now), // kept as it was if the status is
	})
}
