package controllers

import "time"

// expire deletes a finished job once spec.ttlSecondsAfterFinished have passed.
func (d *decision) expire(o observation, now time.Time) {
	ttl := o.job.Spec.TTLSecondsAfterFinished
	if ttl == nil || d.status.CompletionTime == nil {
		return
	}
	left := time.Duration(*ttl)*time.Second - now.Sub(d.status.CompletionTime.Time)
	if written := o.job.Status.CompletionTime != nil; left <= 0 && written {
		d.deleteJob = true
		return
	}
	d.lookAgain(max(left, time.Millisecond)) // the end is on record before the job goes
}
