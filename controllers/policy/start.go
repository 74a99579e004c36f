package policy

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// deniedInterval is the time between two tries of what the API server denies.
const deniedInterval = 10 * time.Second

// start begins the first attempt, or the next one.
func (d *Decision) start(o Observation, now time.Time) {
	if why := childjob.UnmountedFolder(o.Job.Spec); why != "" {
		d.fail(o, now, v1.ReasonInvalidSpec, why)
		return
	}
	if o.Denied.Create != "" || o.Denied.NameInUse != "" {
		d.notCreated(o, now)
		return
	}
	d.deleteChild(o)
	d.Create = d.Status.Attempt + 1
	d.attemptCreated(o, d.Create, now)
}

// restart begins the next attempt once its time has come.
func (d *Decision) restart(o Observation, now time.Time) {
	if at := d.Status.RetryTime; at != nil && now.Before(at.Time) {
		d.requeue(at.Sub(now))
		return
	}
	if d.Status.Attempt > 1 { // keep the last failed attempt and its log, drop the one before
		d.Delete = append(d.Delete, childjob.Name(o.Job.Name, d.Status.Attempt-1))
	}
	d.start(o, now)
}

// replace begins anew with the edited spec: what the attempt waited for may be settled by the edit.
func (d *Decision) replace(o Observation, now time.Time) {
	message := fmt.Sprintf("attempt %d had not started; the next one begins with the new spec", o.Attempt)
	d.retry(o, now, 0, Event{corev1.EventTypeNormal, v1.ReasonSpecChanged, message})
}

// notCreated: the next attempt cannot begin. One on record is over and counted, so a job that had one stays between two
// attempts.
func (d *Decision) notCreated(o Observation, now time.Time) {
	since := now
	switch at := d.Status.ActiveStartTime; {
	case d.between():
		d.Status.State = v1.StateRestarting
		if d.Status.RetryTime == nil {
			d.Status.RetryTime = timeOf(now)
		}
		since = d.Status.RetryTime.Time
	case at != nil:
		since = at.Time
		fallthrough
	default:
		d.Status.State = v1.StatePending
	}
	if meta.IsStatusConditionTrue(d.Status.Conditions, v1.ConditionSuspended) {
		d.condition(o, now, v1.ConditionSuspended, metav1.ConditionFalse, v1.ReasonResumed, "spec.suspend is false")
	}
	if o.Denied.NameInUse != "" {
		d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, v1.ReasonNameInUse, o.Denied.NameInUse)
		d.requeue(time.Second)
		return
	}
	if !d.startDeadline(o, since, o.Denied.Create, now) {
		d.notProgressing(o, now, v1.ReasonPodRefused, o.Denied.Create)
		d.requeue(deniedInterval)
	}
}

// notDeleted takes back what was decided, except the end of a job: a child that has to go first cannot be deleted, so
// it goes on.
func (d *Decision) notDeleted(o Observation, a attemptStatus, now time.Time) {
	if d.finished() {
		d.requeue(deniedInterval)
		return
	}
	before := begin(o, now)
	s := &before.Status
	s.Progress, s.Checkpoint, s.PodName = d.Status.Progress, d.Status.Checkpoint, d.Status.PodName
	before.Delete = d.Delete
	*d = before
	d.notProgressing(o, now, v1.ReasonDeleteRefused, o.Denied.Delete)
	d.follow(a)
	d.requeue(deniedInterval)
}
