package policy

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// suspend stops the attempt and waits until its pods have saved and are gone. A pod on a dead node is not waited for.
func (d *Decision) suspend(o Observation, a attemptStatus, now time.Time) {
	over := a.state == stateDisrupted || a.state == v1.StateFailed
	terminating := o.Child == nil && !over || o.Child != nil && !o.Child.DeletionTimestamp.IsZero() && !o.allLost(now)
	switch {
	case terminating:
		d.suspending(o, now)
		d.requeue(a.revisitIn)
	case over && a.state == v1.StateFailed && !d.between():
		if d.counted(o, a, now) {
			d.suspended(o, now)
		}
	case over:
		d.deleteChild(o)
		d.suspended(o, now)
	default:
		d.Delete = append(d.Delete, o.Child.Name)
		d.suspending(o, now)
	}
}

// suspending: the pods are saving a checkpoint.
func (d *Decision) suspending(o Observation, now time.Time) {
	const message = "spec.suspend is true: the pod saves a checkpoint and stops"
	c := meta.FindStatusCondition(d.Status.Conditions, v1.ConditionProgressing)
	if c == nil || c.Reason != v1.ReasonSuspending {
		d.normal(v1.ReasonSuspending, message)
	}
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, v1.ReasonSuspending, message)
}

// suspended: no pod is left.
func (d *Decision) suspended(o Observation, now time.Time) {
	if d.Status.State == v1.StateSuspended {
		return
	}
	d.Status.State = v1.StateSuspended
	d.Status.RetryTime = nil
	d.condition(o, now, v1.ConditionSuspended, metav1.ConditionTrue, v1.ReasonSuspended,
		"spec.suspend is true: set it to false to go on")
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionFalse, v1.ReasonSuspended, "suspended")
	d.normal(v1.ReasonSuspended, "suspended")
}
