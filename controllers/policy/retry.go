package policy

import (
	"fmt"
	"hash/fnv"
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
func (d *Decision) failed(o Observation, a attemptStatus, now time.Time) {
	if !d.counted(o, a, now) {
		return
	}
	wait := backoff(o.Job.Spec.Retry, d.Status.Failures)
	message := fmt.Sprintf("attempt %d failed, the next one begins%s: %s", o.Attempt, in(wait), a.message)
	d.retry(o, now, wait, Event{corev1.EventTypeWarning, a.reason, message})
}

// counted counts a failure; false if it was the last one.
func (d *Decision) counted(o Observation, a attemptStatus, now time.Time) bool {
	d.Status.Failures++
	if limit := o.Job.Spec.Retry.MaxFailures; d.Status.Failures >= limit {
		d.fail(o, now, a.reason, fmt.Sprintf("gave up after %d of %d failures: %s", d.Status.Failures, limit, a.message))
		return false
	}
	return true
}

// disrupted plans the next attempt at once, at no cost.
func (d *Decision) disrupted(o Observation, a attemptStatus, now time.Time) {
	c := meta.FindStatusCondition(d.Status.Conditions, v1.ConditionProgressing)
	if c != nil && c.Reason == v1.ReasonSuspending {
		message := fmt.Sprintf("attempt %d ended, the next one begins: spec.suspend is false again", o.Attempt)
		d.retry(o, now, 0, Event{corev1.EventTypeNormal, v1.ReasonResumed, message})
		return
	}
	d.Status.Disruptions++
	wait := time.Duration(0)
	if began := d.Status.AttemptStartTime; began != nil {
		wait = max(0, d.interval(o)-now.Sub(began.Time)).Truncate(time.Second)
	}
	message := fmt.Sprintf("attempt %d ended, the next one begins%s: %s", o.Attempt, in(wait), a.message)
	d.retry(o, now, wait, Event{corev1.EventTypeNormal, a.reason, message})
}

// interval is the least time between the beginnings of this attempt, which was disrupted, and the next one. It doubles
// with each attempt in a row that was disrupted and brought no checkpoint.
func (d *Decision) interval(o Observation) time.Duration {
	saved := int32(0) // the attempt that wrote the newest checkpoint
	if c := d.Status.Checkpoint; c != nil {
		_, after, _ := strings.Cut(c.Name, "-a")
		n, _ := strconv.ParseInt(after, 10, 32)
		saved = int32(n)
	}
	inVain := min(o.Attempt-saved, d.Status.Disruptions)
	return doubled(minInterval, inVain)
}

// partlyTimeout is how long the pods of a distributed attempt keep their nodes while another one finds none.
const partlyTimeout = 5 * time.Minute

// releasePods gives back the nodes of an attempt that has only some of those that it needs: two such jobs would wait for
// each other. The next one begins after a time that differs from job to job.
func (d *Decision) releasePods(o Observation, a attemptStatus, now time.Time) bool {
	if a.partlySince.IsZero() || a.reason != v1.ReasonUnschedulable && a.reason != v1.ReasonPodRefused {
		return false
	}
	if left := partlyTimeout - now.Sub(a.partlySince); left > 0 {
		d.requeue(left)
		return false
	}
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%s-%d", o.Job.UID, o.Attempt)
	wait := 10*time.Second + time.Duration(hash.Sum32()%50)*time.Second
	message := fmt.Sprintf("attempt %d gave its nodes back after %s, the next one begins in %s: %s",
		o.Attempt, partlyTimeout, wait, a.message)
	d.retry(o, now, wait, Event{corev1.EventTypeWarning, v1.ReasonPartlyScheduled, message})
	return true
}

// retry: the attempt is over, as the event says, and the next one begins after a wait.
func (d *Decision) retry(o Observation, now time.Time, wait time.Duration, e Event) {
	d.deleteChild(o)
	d.Status.State = v1.StateRestarting
	d.Status.RetryTime = timeOf(now.Add(wait))
	d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, e.Reason, e.Message)
	d.event(e.Type, e.Reason, e.Message)
	// Zero would mean never; the reconcile after the status is written creates the next attempt.
	d.RequeueAfter = max(wait, time.Millisecond)
}

// deleteChild deletes the child if it has pods that train, or would get one again.
func (d *Decision) deleteChild(o Observation) {
	if o.Child == nil || !o.Child.DeletionTimestamp.IsZero() || !o.childLive() {
		return
	}
	d.Delete = append(d.Delete, o.Child.Name)
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
