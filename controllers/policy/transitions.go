package policy

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// Each function here is one transition of a job: the state, the conditions, and at most one event.

// begin is the decision before anything is decided: the status as it is, with the attempt that exists.
func begin(o Observation, now time.Time) Decision {
	d := Decision{Status: *o.Job.Status.DeepCopy()}
	d.Status.ObservedGeneration = o.Job.Generation
	if !d.finished() && o.Attempt > d.Status.Attempt { // not in the status yet: it is held, or the manager died
		d.attemptCreated(o, o.Attempt, now)
	}
	return d
}

// attemptCreated: attempt n exists.
func (d *Decision) attemptCreated(o Observation, n int32, now time.Time) {
	d.Status.Attempt = n
	d.Status.State = v1.StateStarting
	d.Status.PodName = ""
	d.Status.RetryTime = nil
	began := now
	if o.Child != nil && o.Attempt == n { // it exists already
		began = o.Child.CreationTimestamp.Time
	}
	d.Status.AttemptStartTime = timeOf(began)
	if d.Status.StartTime == nil {
		d.Status.StartTime = timeOf(began)
	}
	message := fmt.Sprintf("attempt %d created", n)
	if c := d.Status.Checkpoint; c != nil {
		message += ": resumes from checkpoint " + c.Name
	}
	if meta.IsStatusConditionTrue(d.Status.Conditions, v1.ConditionSuspended) {
		d.condition(o, now, v1.ConditionSuspended, metav1.ConditionFalse, v1.ReasonResumed, "spec.suspend is false")
	}
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, v1.ReasonAttemptCreated, message)
	if n > 1 { // the first one is no news
		d.normal(v1.ReasonAttemptCreated, message)
	}
	d.compute(o)
}

// progressing: the attempt is on its way.
func (d *Decision) progressing(o Observation, now time.Time, state v1.State, a attemptStatus) {
	if state == v1.StateStarting && d.Status.State == v1.StateRunning {
		return // a probe that failed once does not undo the start
	}
	waiting := waitingFor(a.progress, o.Job, now)
	progresses := meta.IsStatusConditionTrue(d.Status.Conditions, v1.ConditionProgressing)
	if state == d.Status.State && progresses && d.sameWaiting(waiting) {
		return // a new pod name or a finer reason is not worth a write
	}
	d.Status.State = state
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, a.reason, a.message+waiting)
	if state == v1.StateQueued {
		d.normal(a.reason, a.message)
	}
}

// rewordInterval is the least time between two writes that change nothing but the words of what is waited for: those of
// the scheduler change with every node and every pod.
const rewordInterval = time.Minute

// notProgressing: the attempt waits for somebody to act. The event comes once, while the reason stays the same.
func (d *Decision) notProgressing(o Observation, now time.Time, reason, message string) {
	old := meta.FindStatusCondition(d.Status.Conditions, v1.ConditionProgressing)
	wait := rewordInterval - now.Sub(o.ConditionWritten)
	switch {
	case old == nil || old.Reason != reason:
		d.warn(reason, message)
	case podsRun.FindString(old.Message) != podsRun.FindString(message):
	case sameButNumbers(old.Message, clean(message)):
		message = old.Message
	case wait > 0 && reason == v1.ReasonUnschedulable:
		message = old.Message
		d.requeue(wait)
	}
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionFalse, reason, message)
}

// succeed: the model is saved.
func (d *Decision) succeed(o Observation, a attemptStatus, now time.Time) {
	d.Status.State = v1.StateSucceeded
	if a.artifacts != nil {
		d.Status.Artifacts = artifactsOf(*a.artifacts, o.Job)
	}
	for n := int32(1); n < o.Attempt; n++ { // one that failed was kept for its log, which is in the bucket as well
		d.Delete = append(d.Delete, childjob.Name(o.Job.Name, n))
	}
	d.end(o, now, v1.ConditionComplete, v1.ReasonSucceeded, a.message)
	message := a.message
	if p := display(d.Status.Progress); p != nil && p.Accuracy != "" {
		message = fmt.Sprintf("%s: accuracy %s after %s epochs", message, p.Accuracy, p.Epoch)
	}
	d.normal(v1.ReasonSucceeded, message)
}

// fail: the job is given up.
func (d *Decision) fail(o Observation, now time.Time, reason, message string) {
	d.Status.State = v1.StateFailed
	d.end(o, now, v1.ConditionFailed, reason, message)
	d.warn(reason, message)
}

func (d *Decision) end(o Observation, now time.Time, condition, reason, message string) {
	d.Status.CompletionTime = timeOf(now)
	d.Status.RetryTime = nil
	if d.Status.Progress != nil {
		d.Status.Progress.ETASeconds = 0
	}
	d.condition(o, now, condition, metav1.ConditionTrue, reason, message)
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionFalse, reason, "finished")
}
