package controllers

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	// maxBackoff is the longest wait between two attempts.
	maxBackoff = 10 * time.Minute
	// minInterval is the least time between the beginnings of two attempts of which the first was disrupted, so that
	// something that ends every pod at once does not make the operator spin.
	minInterval = 10 * time.Second
)

// failed counts a failure of the attempt, and plans the next one unless there were too many.
func (d *decision) failed(o observation, a attempt, now time.Time) {
	if !d.counted(o, a, now) {
		return
	}
	wait := backoff(o.job.Spec.Retry, d.status.Failures)
	d.retry(o, now, wait, corev1.EventTypeWarning, a.reason, fmt.Sprintf("attempt %d failed, the next one begins%s: %s", o.attempt, in(wait), a.message))
}

// counted counts a failure; false if it was the last one.
func (d *decision) counted(o observation, a attempt, now time.Time) bool {
	d.status.Failures++
	if limit := o.job.Spec.Retry.MaxFailures; d.status.Failures >= limit {
		d.fail(o, now, a.reason, fmt.Sprintf("gave up after %d of %d failures: %s", d.status.Failures, limit, a.message))
		return false
	}
	return true
}

// disrupted plans the next attempt at once, at no cost.
func (d *decision) disrupted(o observation, a attempt, now time.Time) {
	if c := meta.FindStatusCondition(d.status.Conditions, v1.ConditionProgressing); c != nil && c.Reason == v1.ReasonSuspending {
		d.retry(o, now, 0, corev1.EventTypeNormal, v1.ReasonResumed, fmt.Sprintf("attempt %d ended, the next one begins: spec.suspend is false again", o.attempt))
		return
	}
	d.status.Disruptions++
	wait := time.Duration(0)
	if began := d.status.AttemptStartTime; began != nil {
		wait = max(0, d.interval(o)-now.Sub(began.Time)).Truncate(time.Second)
	}
	d.retry(o, now, wait, corev1.EventTypeNormal, a.reason, fmt.Sprintf("attempt %d ended, the next one begins%s: %s", o.attempt, in(wait), a.message))
}

// interval is the least time between the beginnings of this attempt, which was disrupted, and the next one. It doubles
// with each attempt in a row that was disrupted and brought no checkpoint.
func (d *decision) interval(o observation) time.Duration {
	saved := int32(0) // the attempt that wrote the newest checkpoint
	if c := d.status.Checkpoint; c != nil {
		_, after, _ := strings.Cut(c.Name, "-a")
		n, _ := strconv.ParseInt(after, 10, 32)
		saved = int32(n)
	}
	inVain := min(o.attempt-saved, d.status.Disruptions)
	return doubled(minInterval, inVain)
}

// retry: the attempt is over and the next one begins after a wait.
func (d *decision) retry(o observation, now time.Time, wait time.Duration, kind, reason, message string) {
	d.abandon(o)
	d.status.State = v1.StateRestarting
	d.status.RetryTime = timeOf(now.Add(wait))
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, reason, message)
	d.event(kind, reason, message)
	// Zero would mean never; the reconcile after the status is written creates the next attempt.
	d.requeueAfter = max(wait, time.Millisecond)
}

// restart begins the next attempt once its time has come.
func (d *decision) restart(o observation, now time.Time) {
	if at := d.status.RetryTime; at != nil && now.Before(at.Time) {
		d.lookAgain(at.Sub(now))
		return
	}
	if d.status.Attempt > 1 { // keep the last failed attempt and its log, drop the one before
		d.delete = append(d.delete, childName(o.job.Name, d.status.Attempt-1))
	}
	d.start(o, now)
}

// abandon deletes the child if it has pods that train, or would get one again.
func (d *decision) abandon(o observation) {
	if o.child == nil || !o.child.DeletionTimestamp.IsZero() || !live(o) {
		return
	}
	d.delete = append(d.delete, o.child.Name)
}

// backoff after so many failures.
func backoff(r v1.RetrySpec, failures int32) time.Duration {
	wait := 10 * time.Second
	if r.BackoffSeconds != nil {
		wait = time.Duration(*r.BackoffSeconds) * time.Second
	}
	return doubled(wait, failures)
}

// doubled doubles a wait each time but the first, up to maxBackoff.
func doubled(wait time.Duration, times int32) time.Duration {
	for range times - 1 {
		if wait >= maxBackoff {
			break
		}
		wait *= 2
	}
	return min(wait, maxBackoff)
}

// in says when; "" is at once.
func in(wait time.Duration) string {
	if wait <= 0 {
		return ""
	}
	return " in " + wait.String()
}
