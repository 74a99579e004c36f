package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// suspend stops the attempt and waits until its pods have saved and are gone. A pod on a dead node is not waited for.
func (d *decision) suspend(o observation, a attempt, now time.Time) {
	over := a.phase == phaseMissing || a.phase == phaseFailed || a.phase == phaseDisrupted
	leaving := o.child == nil && !over || o.child != nil && !o.child.DeletionTimestamp.IsZero() && !allLost(o, now)
	switch {
	case leaving:
		d.suspending(o, now)
		d.lookAgain(a.revisitIn)
	case over && a.phase == phaseFailed && !d.between():
		if d.counted(o, a, now) {
			d.suspended(o, now)
		}
	case over:
		d.abandon(o)
		d.suspended(o, now)
	default:
		d.delete = append(d.delete, o.child.Name)
		d.suspending(o, now)
	}
}

// suspending: the pods are saving a checkpoint.
func (d *decision) suspending(o observation, now time.Time) {
	const message = "spec.suspend is true: the pod saves a checkpoint and stops"
	if c := meta.FindStatusCondition(d.status.Conditions, v1.ConditionProgressing); c == nil || c.Reason != v1.ReasonSuspending {
		d.normal(v1.ReasonSuspending, message)
	}
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, v1.ReasonSuspending, message)
}

// suspended: no pod is left.
func (d *decision) suspended(o observation, now time.Time) {
	if d.status.State == v1.StateSuspended {
		return
	}
	d.status.State = v1.StateSuspended
	d.status.RetryTime = nil
	d.condition(o, now, v1.ConditionSuspended, metav1.ConditionTrue, v1.ReasonSuspended, "spec.suspend is true: set it to false to go on")
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionFalse, v1.ReasonSuspended, "suspended")
	d.normal(v1.ReasonSuspended, "suspended")
}

// between is true when the last attempt is over and counted, and the next one has not begun.
func (d *decision) between() bool {
	return d.status.State == v1.StateRestarting || d.status.State == v1.StateSuspended
}
