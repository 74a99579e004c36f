package policy

import "time"

// expire deletes a finished job once spec.ttlSecondsAfterFinished have passed.
func (d *Decision) expire(o Observation, now time.Time) {
	ttl := o.Job.Spec.TTLSecondsAfterFinished
	if ttl == nil || d.Status.CompletionTime == nil {
		return
	}
	left := time.Duration(*ttl)*time.Second - now.Sub(d.Status.CompletionTime.Time)
	if written := o.Job.Status.CompletionTime != nil; left <= 0 && written {
		d.DeleteJob = true
		return
	}
	d.requeue(max(left, time.Millisecond)) // the end is on record before the job goes
}
