package policy

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// holdTime is how long a write of the status waits for what usually follows, at least: an attempt that was created soon has
// a pod, which soon trains, and the three are one write. An attempt that is not in the status yet is known by its child:
// whoever manages the job next finds that and goes on (Decide, adoption).
const holdTime = 2 * time.Second

// hold puts off the write of a status that says no more than that an attempt is on its way. What ends, counts, warns or
// is deleted is never put off, nor is a pod that trains or is about to go.
func (d *Decision) hold(o Observation, a attemptStatus, now time.Time) {
	onItsWay := d.Status.State == v1.StateStarting || d.Status.State == v1.StateQueued
	counts := d.Status.Failures != o.Job.Status.Failures || d.Status.Disruptions != o.Job.Status.Disruptions
	warns := slices.ContainsFunc(d.Events, func(e Event) bool { return e.Type == corev1.EventTypeWarning })
	if !onItsWay || counts || warns || len(d.Delete) > 0 || a.terminating || a.ended || !d.StatusChanged(o) {
		return
	}
	since := o.HeldSince
	if since.IsZero() {
		since = now
	}
	if left := unlessBusy(holdTime, o) - now.Sub(since); left > 0 {
		d.HeldSince = since
		d.requeue(left)
	}
}
