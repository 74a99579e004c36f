package controllers

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// decision is what to do, and what to say.
type decision struct {
	// create is the number of the attempt to begin; 0 for none.
	create int32
	// delete names the child Jobs to delete.
	delete []string
	// status the job shall have.
	status v1.ResNetTrainingJobStatus
	// events to emit once the status is written.
	events []transition
	// progressURL of the trainer to pull progress from; "" for none.
	progressURL string
	// progressChanged is true if the status holds newer progress than the job.
	progressChanged bool
	// requeueAfter is when to look again without being told; 0 for never.
	requeueAfter time.Duration
}

const (
	// progressInterval is the least time between two writes that change nothing but progress.
	progressInterval = 10 * time.Second
	// maxBackoff is the longest wait between two attempts.
	maxBackoff = 10 * time.Minute
	// messageGrace is how long a finished Job may be ahead of its pod in the cache.
	messageGrace = 10 * time.Second
)

// decide is the whole policy: a pure function of what was observed and of the time.
func decide(o observation, now time.Time) decision {
	d := decision{status: *o.job.Status.DeepCopy()}
	if d.finished() {
		return d
	}
	d.status.ObservedGeneration = o.job.Generation
	if o.attempt > d.status.Attempt { // created by a manager that died before it wrote so
		d.begun(o, o.attempt, now)
	}
	if why := unsupported(o.job.Spec); why != "" {
		d.fail(o, now, v1.ReasonInvalidSpec, why)
		return d
	}
	a := assess(o, now)
	d.record(a)

	switch {
	case a.phase == phaseSucceeded:
		if awaitsMessage(o, now) {
			d.requeueAfter = time.Second
			return d
		}
		d.succeed(o, a, now)
	case a.phase == phaseFailed && a.permanent:
		d.status.Failures++
		d.fail(o, now, a.reason, a.message)
	case o.job.Spec.Suspend:
		d.suspend(o, a, now)
	case d.status.Attempt == 0, d.status.State == v1.StateSuspended:
		d.start(o, now)
	case d.status.State == v1.StateRestarting:
		d.restart(o, now)
	default:
		d.advance(o, a, now)
	}
	d.coalesce(o, a.ended, now)
	return d
}

// advance follows an attempt that is under way.
func (d *decision) advance(o observation, a attempt, now time.Time) {
	switch a.phase {
	case phaseMissing, phaseDisrupted:
		d.status.Disruptions++
		d.retry(o, now, 0, a.reason, a.message)
	case phaseFailed:
		d.status.Failures++
		limit := o.job.Spec.Retry.MaxFailures
		if d.status.Failures >= limit {
			d.fail(o, now, a.reason, fmt.Sprintf("gave up after %d of %d failures: %s", d.status.Failures, limit, a.message))
			return
		}
		d.retry(o, now, backoff(o.job.Spec.Retry, d.status.Failures), a.reason, a.message)
	case phaseStopping: // wait for the end, and then for its reason
	case phaseQueued:
		d.progressing(o, now, v1.StateQueued, a)
	case phaseBlocked:
		d.blocked(o, now, a)
	case phaseStarting:
		d.progressing(o, now, v1.StateStarting, a)
	case phaseRunning:
		d.progressing(o, now, v1.StateRunning, a)
	}
	if d.requeueAfter == 0 {
		d.requeueAfter = a.revisitIn
	}
	if a.podIP != "" {
		d.progressURL = "http://" + net.JoinHostPort(a.podIP, strconv.Itoa(contract.Port)) + contract.ProgressPath
	}
}

// start begins the first attempt, or the one after a suspension.
func (d *decision) start(o observation, now time.Time) {
	d.create = d.status.Attempt + 1
	d.begun(o, d.create, now)
}

// restart begins the next attempt once its time has come.
func (d *decision) restart(o observation, now time.Time) {
	if at := d.status.RetryTime; at != nil && now.Before(at.Time) {
		d.requeueAfter = at.Sub(now)
		return
	}
	if d.status.Attempt > 1 { // keep the last failed attempt and its log, drop the one before
		d.delete = append(d.delete, childName(o.job.Name, d.status.Attempt-1))
	}
	d.start(o, now)
}

// suspend stops the attempt and waits until its pods have saved and are gone.
func (d *decision) suspend(o observation, a attempt, now time.Time) {
	switch {
	case o.child != nil && !o.child.DeletionTimestamp.IsZero():
		d.suspending(o, now)
	case a.phase == phaseMissing, a.phase == phaseFailed, a.phase == phaseDisrupted:
		d.suspended(o, now)
	default:
		d.delete = append(d.delete, o.child.Name)
		d.suspending(o, now)
	}
}

// unsupported says what in a spec works on a laptop but not in a pod.
func unsupported(spec v1.ResNetTrainingJobSpec) string {
	for _, f := range []struct{ name, uri string }{{"spec.storage.uri", spec.Storage.URI}, {"spec.dataset.uri", spec.Dataset.URI}} {
		if strings.HasPrefix(f.uri, "file:") {
			return fmt.Sprintf("%s: %q is a folder, and the pod has none: use s3://", f.name, f.uri)
		}
	}
	return ""
}

// awaitsMessage is true while a child is complete but its pod's last words are not in the cache yet.
func awaitsMessage(o observation, now time.Time) bool {
	done := o.child.Status.CompletionTime
	return terminated(newest(o.pods)) == nil && done != nil && now.Sub(done.Time) < messageGrace
}

// coalesce puts off a write that changes nothing but progress until the last one is old enough.
func (d *decision) coalesce(o observation, ended bool, now time.Time) {
	d.progressChanged = progressMoved(o.job.Status, d.status, ended)
	if !d.progressChanged || ended || !sameButProgress(o.job.Status, d.status) {
		return
	}
	if wait := progressInterval - now.Sub(o.progressWritten); wait > 0 {
		d.status.Progress, d.status.Checkpoint = o.job.Status.Progress, o.job.Status.Checkpoint
		d.progressChanged = false
		d.requeueAfter = wait
	}
}

// backoff doubles with every failure after the first.
func backoff(r v1.RetrySpec, failures int32) time.Duration {
	wait := 10 * time.Second
	if r.BackoffSeconds != nil {
		wait = time.Duration(*r.BackoffSeconds) * time.Second
	}
	for range failures - 1 {
		if wait >= maxBackoff {
			break
		}
		wait *= 2
	}
	return min(wait, maxBackoff)
}

// transition is one line in the events of kubectl describe.
type transition struct {
	kind    string // Normal or Warning
	reason  string
	message string
}

func (d *decision) normal(reason, message string) {
	d.events = append(d.events, transition{corev1.EventTypeNormal, reason, message})
}

func (d *decision) warn(reason, message string) {
	d.events = append(d.events, transition{corev1.EventTypeWarning, reason, message})
}

func (d *decision) finished() bool {
	return d.status.State == v1.StateSucceeded || d.status.State == v1.StateFailed
}

func timeOf(now time.Time) *metav1.Time { return &metav1.Time{Time: now.Truncate(time.Second)} }
