package controllers

import (
	"fmt"
	"net"
	"strconv"
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
	// deleteJob is true when the job's time to live is over.
	deleteJob bool
	// progressURL of the trainer to pull progress from, and the name of its pod; "" for none.
	progressURL, podName string
	// progressChanged is true if the status holds newer progress than the job.
	progressChanged bool
	// requeueAfter is when to look again without being told; 0 for never.
	requeueAfter time.Duration
}

const (
	// progressInterval is the least time between two writes that change nothing but progress.
	progressInterval = 10 * time.Second
	// messageGrace is how long a finished Job may be ahead of its pod in the cache.
	messageGrace = 10 * time.Second
)

// decide is the whole policy: a pure function of what was observed and of the time.
func decide(o observation, now time.Time) decision {
	d := decision{status: *o.job.Status.DeepCopy()}
	d.status.ObservedGeneration = o.job.Generation
	if d.finished() {
		d.abandon(o)
		d.expire(o, now)
		if o.refusal.delete != "" {
			d.lookAgain(progressInterval)
		}
		return d
	}
	if o.attempt > d.status.Attempt { // created by a manager that died before it wrote so
		d.begun(o, o.attempt, now)
	}
	a := assess(o, now)
	d.record(o, a, now)
	d.step(o, a, now)
	d.tick(now)
	if d.finished() {
		d.abandon(o)
		d.expire(o, now)
	}
	d.remember(o, a, now)
	if o.refusal.delete != "" {
		d.notDeleted(o, a, now)
	}
	d.coalesce(o, a.ended, now)
	return d
}

// remember records in which pod the attempt has run: an attempt ends with that pod, whatever its Job does next. It costs
// no write of its own unless the pod leaves, or takes long to read its data.
func (d *decision) remember(o observation, a attempt, now time.Time) {
	if a.startedPod == "" || d.status.PodName != "" || o.attempt != d.status.Attempt {
		return
	}
	if sameButProgress(o.job.Status, d.status) && !a.leaving {
		if wait := progressInterval - now.Sub(a.startedAt); wait > 0 || a.startedAt.IsZero() {
			d.lookAgain(wait)
			return
		}
	}
	d.status.PodName = a.startedPod
}

// step takes the first of these that applies.
func (d *decision) step(o observation, a attempt, now time.Time) {
	switch {
	case a.phase == phaseSucceeded && awaitsMessage(o, now):
		d.lookAgain(time.Second)
	case a.phase == phaseSucceeded:
		d.succeed(o, a, now)
	case a.phase == phaseFailed && a.permanent:
		d.status.Failures++
		d.fail(o, now, a.reason, a.message)
	case o.job.Spec.Suspend:
		d.suspend(o, a, now)
	case d.overdue(o, now):
	case d.status.Attempt == 0, d.status.State == v1.StateSuspended:
		d.start(o, now)
	case d.status.State == v1.StateRestarting:
		d.restart(o, now)
	default:
		d.advance(o, a, now)
	}
}

// advance follows an attempt that is under way.
func (d *decision) advance(o observation, a attempt, now time.Time) {
	switch a.phase {
	case phaseMissing, phaseDisrupted:
		d.disrupted(o, a, now)
	case phaseFailed:
		d.failed(o, a, now)
	case phaseStopping: // wait for the end, and then for its reason
		if a.startedPod != "" && (d.status.State == v1.StatePending || d.status.State == v1.StateQueued) { // no more
			a.reason, a.message = v1.ReasonStarting, fmt.Sprintf("pod %s stops", a.startedPod)
			d.progressing(o, now, v1.StateStarting, a)
		}
	case phaseQueued:
		d.queued(o, a, now)
	case phaseBlocked, phaseStarting:
		d.starting(o, a, now)
	case phaseRunning:
		if !d.hung(o, a, now) {
			d.progressing(o, now, v1.StateRunning, a)
		}
	}
	d.lookAgain(a.revisitIn)
	if !d.finished() && d.status.State != v1.StateRestarting {
		d.pull(a)
	}
}

// pull asks the trainer of an attempt for its progress.
func (d *decision) pull(a attempt) {
	if a.podIP != "" {
		d.podName = a.startedPod
		d.progressURL = "http://" + net.JoinHostPort(a.podIP, strconv.Itoa(contract.Port)) + contract.ProgressPath
	}
}

// queued waits for a queueing system.
func (d *decision) queued(o observation, a attempt, now time.Time) {
	switch {
	case o.deactivated != "":
		d.status.State = v1.StateQueued
		a.reason = v1.ReasonDeactivated
		a.message = fmt.Sprintf("Workload %s was deactivated, by an administrator or because its time is over: "+
			"set its spec.active to true to go on", o.deactivated)
		d.explain(o, now, a)
		d.lookAgain(time.Minute)
	case edited(o):
		d.replace(o, now)
	default:
		d.progressing(o, now, v1.StateQueued, a)
	}
}

// starting waits for the pod to run, and for what keeps it from that.
func (d *decision) starting(o observation, a attempt, now time.Time) {
	switch {
	case a.pending && edited(o):
		d.replace(o, now)
	case a.pending && d.neverStarted(o, releasedAt(o, now), a.message, now):
	case d.hung(o, a, now):
	case a.phase == phaseBlocked:
		d.blocked(o, now, a)
	default:
		d.progressing(o, now, v1.StateStarting, a)
	}
}

// start begins the first attempt, or the next one.
func (d *decision) start(o observation, now time.Time) {
	if why := unreachable(o.job.Spec); why != "" {
		d.fail(o, now, v1.ReasonInvalidSpec, why)
		return
	}
	if o.refusal.create != "" || o.refusal.leaving != "" {
		d.notCreated(o, now)
		return
	}
	d.abandon(o)
	d.create = d.status.Attempt + 1
	d.begun(o, d.create, now)
}

// awaitsMessage is true while a child is complete but its pod's last words are not in the cache yet.
func awaitsMessage(o observation, now time.Time) bool {
	done := o.child.Status.CompletionTime
	return terminated(o.pod()) == nil && done != nil && now.Sub(done.Time) < messageGrace
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
		d.lookAgain(wait)
	}
}

// lookAgain sets the time of the next look, if it is not to be sooner anyway. 0 is never.
func (d *decision) lookAgain(in time.Duration) {
	if in > 0 && (d.requeueAfter == 0 || in < d.requeueAfter) {
		d.requeueAfter = in
	}
}

// transition is one line in the events of kubectl describe.
type transition struct {
	kind    string // Normal or Warning
	reason  string
	message string
}

func (d *decision) normal(reason, message string) { d.event(corev1.EventTypeNormal, reason, message) }

func (d *decision) warn(reason, message string) { d.event(corev1.EventTypeWarning, reason, message) }

func (d *decision) event(kind, reason, message string) {
	d.events = append(d.events, transition{kind, reason, clean(message)})
}

func (d *decision) finished() bool {
	return d.status.State == v1.StateSucceeded || d.status.State == v1.StateFailed
}

func timeOf(now time.Time) *metav1.Time { return &metav1.Time{Time: now.Truncate(time.Second)} }
