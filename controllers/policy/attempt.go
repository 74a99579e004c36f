package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// The states of an attempt are those of its job while it goes on, and these two, which lie between it and the next one.
const (
	// stateStopping: the child is being deleted, or was; its pods may be saving a checkpoint.
	stateStopping v1.State = "Stopping"
	// stateDisrupted: it was ended from outside.
	stateDisrupted v1.State = "Disrupted"
)

// attemptStatus is what is observed of an attempt.
type attemptStatus struct {
	// state is one of the above, or Queued, Pending, Starting, Running, Succeeded, Failed.
	state   v1.State
	reason  string
	message string
	// permanent: another attempt would fail in the same way.
	permanent bool
	progress  *contract.Progress
	artifacts *contract.Artifacts
	// ended: the trainer has ended before its time, and progress is from its termination message.
	ended bool
	// pending: no container of the attempt has run yet.
	pending bool
	// startedPod is the pod in which the trainer's container has run, since startedAt; "" if it is not known of any.
	startedPod string
	startedAt  time.Time
	// partlySince is when the last of several pods found its node while another one has none; zero if it is not so.
	partlySince time.Time
	// terminating: that pod is about to go.
	terminating bool
	// podIP of a pod that can be asked for its progress.
	podIP string
	// revisitIn is the time after which the assessment may change by itself; 0 if it cannot.
	revisitIn time.Duration
}

// assess reads an attempt off its child Job, its pod, and what the trainer reports.
//
// A failed pod is judged as soon as it is seen, not when its Job says so: by then it may be gone, and its exit code
// with it.
func assess(o Observation, now time.Time) attemptStatus {
	a := attemptStatus{progress: o.Progress}
	pod := o.Pod()
	end, termination := childjob.Terminated(pod), terminationOf(pod)
	if termination.Progress != nil {
		a.progress = termination.Progress
	}
	if a.progress != nil {
		a.progress, _ = o.Run().believe(*a.progress)
	}
	a.artifacts = termination.Artifacts
	a.ended = end != nil && end.ExitCode != 0 // after a success, the final status is about to be written anyway
	there := o
	there.Gone = nil
	for _, p := range there.podsByIndex() {
		if p.DeletionTimestamp != nil { // then it is lost
			a.revisit(max(0, p.DeletionTimestamp.Sub(now)) + time.Second)
		}
	}
	if started, at := childjob.TrainerStarted(pod); started {
		a.startedPod, a.startedAt = pod.Name, at
		a.terminating = pod.DeletionTimestamp != nil ||
			o.Child == nil || o.Child.DeletionTimestamp != nil || childjob.Suspended(o.Child)
	}

	switch e := o.ending(now); {
	case o.Child == nil:
		a.state, a.reason, a.message = stateDisrupted, v1.ReasonDisrupted, "its Job was deleted"
		if slices.ContainsFunc(o.Pods, func(p corev1.Pod) bool { return childjob.Working(&p, now) }) {
			a.state = stateStopping // kubectl deletes a Job in the background: its pods go after it
		}
	case childjob.JobHas(o.Child, batchv1.JobComplete), childjob.Succeeded(pod):
		a.state, a.reason, a.message = v1.StateSucceeded, v1.ReasonSucceeded, "trained to the end; the model is saved"
	case e.over:
		a.judge(e)
		switch {
		case a.state == stateDisrupted && childjob.Suspended(o.Child):
			a.message = quotaTaken
		case o.distributed() && e.pod != nil:
			a.message = fmt.Sprintf("%s: %s", o.nameOf(e.pod), a.message)
		}
	case childjob.JobHas(o.Child, batchv1.JobFailed), childjob.JobHas(o.Child, batchv1.JobFailureTarget),
		childjob.JobHas(o.Child, batchv1.JobSuccessCriteriaMet):
		a.state = stateStopping // the pod's end is not in the cache yet
	case !o.Child.DeletionTimestamp.IsZero():
		a.state, a.reason, a.message = stateStopping, v1.ReasonDisrupted, "its Job is being deleted"
	case pod == nil && o.RanIn() != "":
		a.state, a.reason, a.message = stateDisrupted, v1.ReasonDisrupted, "its pod was deleted"
		if childjob.Suspended(o.Child) {
			a.message = quotaTaken
		}
	case childjob.Suspended(o.Child) && a.startedPod != "":
		a.state = stateStopping // the quota is taken back; the pod's end is on its way
	case childjob.Suspended(o.Child):
		a.state, a.reason, a.message = v1.StateQueued, v1.ReasonQueued, "waits for quota"
	case o.distributed():
		a.lookAtAll(o, now)
	case pod == nil:
		a.awaitPod(o, now)
	default:
		a.look(o, pod, now)
	}
	if a.state == stateDisrupted && o.DeactivatedWorkload != "" {
		a.state = v1.StateQueued // a new attempt would have a new Workload, which is active
	}
	return a
}

// quotaTaken is why an attempt is over that ran and whose Job is suspended.
const quotaTaken = "a queueing system took its quota back"

// revisit looks again after that time, if not sooner anyway. 0 is never.
func (a *attemptStatus) revisit(after time.Duration) { a.revisitIn = sooner(a.revisitIn, after) }

// podTimeout is how long the Job controller may take to create a pod, behind thousands of others. If it cannot, its
// event says so sooner.
const podTimeout = time.Minute

// awaitPod says what to do if the Job controller creates no pod.
func (a *attemptStatus) awaitPod(o Observation, now time.Time) {
	a.state, a.reason, a.message, a.pending = v1.StateStarting, v1.ReasonAttemptCreated, "waits for its pod", true
	left := podTimeout - now.Sub(o.releasedAt(now))
	switch {
	case o.FailedCreate != "":
		a.state, a.reason = v1.StatePending, v1.ReasonPodRefused
		a.message = "the pod cannot be created: " + creation.ReplaceAllString(o.FailedCreate, "")
	case left <= 0:
		a.state, a.reason = v1.StatePending, v1.ReasonPodRefused
		a.message = fmt.Sprintf("no pod was created; a quota or an admission rule may refuse it: "+
			"kubectl -n %s describe job %s", o.Child.Namespace, o.Child.Name)
	default:
		a.revisit(left)
	}
	if stuck, since := childjob.LacksPod(o.Child, o.Job.Spec.Pods()); stuck {
		a.revisit(nextLook(now.Sub(since)))
	}
}

// creation is what the Job controller puts before the reason; the name in it is another one each time. From the tenth
// time on, client-go puts more before that.
var creation = regexp.MustCompile(
	`^(\(combined from similar events\): )?(Error creating: )?(pods "[^"]*" is forbidden: )?`)

// messageTimeout is how long a finished Job may be ahead of its pod in the cache.
const messageTimeout = 10 * time.Second

// awaitsTermination is true while a child is complete but the termination message of its pod is not in the cache yet.
func awaitsTermination(o Observation, now time.Time) bool {
	done := o.Child.Status.CompletionTime
	return childjob.Terminated(o.Pod()) == nil && done != nil && now.Sub(done.Time) < messageTimeout
}

// look says how far the pod of a live attempt has come.
func (a *attemptStatus) look(o Observation, pod *corev1.Pod, now time.Time) {
	a.state, a.reason = v1.StateStarting, v1.ReasonStarting
	switch pod.Status.Phase {
	case corev1.PodPending:
		a.await(o, pod, now)
		return
	case corev1.PodRunning:
		if pod.DeletionTimestamp.IsZero() {
			a.podIP = pod.Status.PodIP
		}
	}
	a.message = fmt.Sprintf("pod %s reads the data", pod.Name)
	ready, since := childjob.TrainerReady(pod) // from its first optimiser step on
	silent := a.progress == nil || a.progress.FirstStepTime == nil
	if silent && !ready {
		return
	}
	if silent {
		if wait := progressTimeout - now.Sub(since); wait > 0 {
			a.revisit(wait)
			return
		}
	}
	a.state, a.reason, a.message = v1.StateRunning, v1.ReasonTraining, fmt.Sprintf("pod %s trains", pod.Name)
}

// lookAtAll says how far the pods of a distributed attempt have come: as far as the last of them. Once all run, rank 0 tells
// of the training.
func (a *attemptStatus) lookAtAll(o Observation, now time.Time) {
	pods := o.podsByIndex()
	running, scheduled := 0, time.Time{}
	worst := *a
	if len(pods) < int(o.Job.Spec.Pods()) {
		worst.awaitPod(o, now)
	}
	for _, pod := range pods {
		started, _ := childjob.TrainerStarted(pod)
		if started {
			running++
		}
		if c := childjob.PodHas(pod, corev1.PodScheduled); c != nil {
			scheduled = latest(scheduled, c.LastTransitionTime.Time)
		}
		if !started || childjob.Index(pod) == 0 {
			of := *a
			of.look(o, pod, now)
			worst = worst.orWorse(of)
		}
	}
	*a = worst
	if a.pending {
		a.partlySince = scheduled
		a.message = fmt.Sprintf("%d of %d pods run; %s", running, o.Job.Spec.Pods(), a.message)
	}
}

// podsRun is how a message of several pods begins.
var podsRun = regexp.MustCompile(`^[0-9]+ of [0-9]+ pods run; `)

// behind orders the states of pods that have not ended: the attempt is as far as the one that is furthest behind.
var behind = []v1.State{v1.StateQueued, v1.StatePending, v1.StateStarting, v1.StateRunning}

// orWorse is what two pods of an attempt are together.
func (a attemptStatus) orWorse(b attemptStatus) attemptStatus {
	worse := a
	if a.state == "" || slices.Index(behind, b.state) < slices.Index(behind, a.state) {
		worse = b
	}
	worse.pending = a.pending || b.pending
	worse.revisit(a.revisitIn)
	worse.revisit(b.revisitIn)
	return worse
}

// await says what a pod waits for that has not started.
func (a *attemptStatus) await(o Observation, pod *corev1.Pod, now time.Time) {
	a.pending = true
	a.message = fmt.Sprintf("pod %s starts", pod.Name)
	if childjob.Gated(pod) {
		a.state, a.reason, a.message = v1.StateQueued, v1.ReasonQueued, "the pod waits for its scheduling gates"
		return
	}
	reason, message, revisitIn := whyBlocked(o, pod, now)
	if reason != "" {
		a.state, a.reason, a.message = v1.StatePending, reason, message
	}
	a.revisit(revisitIn)
}

// progressTimeout is how long a pod that is ready may take to report its progress, so that the state Running and the
// first numbers are one write. After that it runs all the same.
const progressTimeout = 5 * time.Second

// judge says why an attempt failed, and whether that was its own fault.
func (a *attemptStatus) judge(e ending) {
	a.state = v1.StateFailed
	end := childjob.Terminated(e.pod)
	if why := disruption(e.pod, end); why != "" && !e.counts {
		a.state, a.reason, a.message = stateDisrupted, v1.ReasonDisrupted, why
		return
	}
	if end == nil {
		a.reason = v1.ReasonTrainerError
		a.message = cmp.Or(e.pod.Status.Message, e.pod.Status.Reason, failedBeside(e.pod), "its pod failed without a word")
		return
	}
	a.permanent = exitCodeOf(e.pod).Permanent()
	a.reason, a.message = failureOf(e.pod, end, terminationOf(e.pod))
}
