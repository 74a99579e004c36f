package controllers

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// phase of an attempt, as its child Job and pods show it.
type phase int

const (
	phaseMissing   phase = iota // there is no child Job
	phaseStopping               // the child is being deleted, or was; its pods may be saving a checkpoint
	phaseQueued                 // a queueing system holds the child back
	phaseBlocked                // cannot start until somebody acts; reason and message say what on
	phaseStarting               // on its way
	phaseRunning                // trains
	phaseSucceeded              // trained to the end
	phaseFailed                 // ended with an error
	phaseDisrupted              // was ended from outside
)

// attempt is what became of an attempt so far.
type attempt struct {
	phase   phase
	reason  string
	message string
	// permanent: another attempt would fail in the same way.
	permanent bool
	progress  *contract.Progress
	artifacts *contract.Artifacts
	// ended: the trainer has ended before its time, and progress is its last word.
	ended bool
	// pending: no container of the attempt has run yet.
	pending bool
	// startedPod is the pod in which the trainer's container has run, since startedAt; "" if it is not known of any.
	startedPod string
	startedAt  time.Time
	// leaving: that pod is on its way out.
	leaving bool
	// podIP of a pod that can be asked for its progress.
	podIP string
	// revisitIn is the time after which the assessment may change by itself; 0 if it cannot.
	revisitIn time.Duration
}

// assess reads an attempt off its child Job, its newest pod, and the trainer's own words.
//
// A failed pod is judged as soon as it is seen, not when its Job says so: by then it may be gone, and its exit code
// with it.
func assess(o observation, now time.Time) attempt {
	a := attempt{progress: o.progress}
	pod := o.pod()
	end := terminated(pod)
	word, _ := contract.ParseTermination(messageOf(end))
	if word.Progress != nil {
		a.progress = word.Progress
	}
	if a.progress != nil && !believable(*a.progress, o) {
		a.progress = nil
	}
	a.artifacts = word.Artifacts
	a.ended = end != nil && end.ExitCode != 0 // after a success, the final status is about to be written anyway
	if pod != nil && pod.DeletionTimestamp != nil {
		a.revisitIn = max(0, pod.DeletionTimestamp.Sub(now)) + time.Second
	}
	if started, at := started(pod); started {
		a.startedPod, a.startedAt = pod.Name, at
		a.leaving = pod.DeletionTimestamp != nil || o.child == nil || o.child.DeletionTimestamp != nil || held(o.child)
	}

	switch {
	case o.child == nil:
		a.phase, a.reason, a.message = phaseMissing, v1.ReasonDisrupted, "its Job was deleted"
		if slices.ContainsFunc(o.pods, func(p corev1.Pod) bool { return working(&p, now) }) {
			a.phase = phaseStopping // kubectl deletes a Job in the background: its pods go after it
		}
	case jobHas(o.child, batchv1.JobComplete), trainedToTheEnd(pod):
		a.phase, a.reason, a.message = phaseSucceeded, v1.ReasonSucceeded, "trained to the end; the model is saved"
	case ended(pod), pod != nil && lost(pod, now), pod == nil && jobHas(o.child, batchv1.JobFailed):
		a.judge(pod, end, word)
	case jobHas(o.child, batchv1.JobFailed), jobHas(o.child, batchv1.JobFailureTarget),
		jobHas(o.child, batchv1.JobSuccessCriteriaMet):
		a.phase = phaseStopping // the pod's end is not in the cache yet
	case !o.child.DeletionTimestamp.IsZero():
		a.phase, a.reason, a.message = phaseStopping, v1.ReasonDisrupted, "its Job is being deleted"
	case pod == nil && o.ranIn() != "":
		a.phase, a.reason, a.message = phaseDisrupted, v1.ReasonDisrupted, "its pod was deleted"
		if held(o.child) {
			a.message = "a queueing system took its quota back"
		}
	case held(o.child) && a.startedPod != "":
		a.phase = phaseStopping // the quota is taken back; the pod's end is on its way
	case held(o.child):
		a.phase, a.reason, a.message = phaseQueued, v1.ReasonQueued, "waits for quota"
	case pod == nil:
		a.awaitPod(o, now)
	default:
		a.look(o, pod, now)
	}
	if a.phase == phaseDisrupted && o.deactivated != "" {
		a.phase = phaseQueued // a new attempt would have a new Workload, which is active
	}
	return a
}

// podPatience is how long the Job controller may take to create a pod, behind thousands of others. A refusal is told
// sooner, by an event.
const podPatience = time.Minute

// awaitPod says what to do if the Job controller creates no pod.
func (a *attempt) awaitPod(o observation, now time.Time) {
	a.phase, a.reason, a.message, a.pending = phaseStarting, v1.ReasonAttemptCreated, "waits for its pod", true
	left := podPatience - now.Sub(releasedAt(o, now))
	switch {
	case o.podRefusal != "":
		a.phase, a.reason = phaseBlocked, v1.ReasonPodRefused
		a.message = "the pod cannot be created: " + creation.ReplaceAllString(o.podRefusal, "")
	case left <= 0:
		a.phase, a.reason = phaseBlocked, v1.ReasonPodRefused
		a.message = fmt.Sprintf("no pod was created; a quota or an admission rule may refuse it: kubectl -n %s describe job %s", o.child.Namespace, o.child.Name)
	default:
		a.revisitIn = left
	}
}

// creation is what the Job controller puts before the reason; the name in it is another one each time.
var creation = regexp.MustCompile(`^(Error creating: )?(pods "[^"]*" is forbidden: )?`)

// look says how far the pod of a live attempt has come.
func (a *attempt) look(o observation, pod *corev1.Pod, now time.Time) {
	a.phase, a.reason = phaseStarting, v1.ReasonStarting
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
	ready, since := trainerReady(pod) // from its first optimiser step on
	silent := a.progress == nil || a.progress.FirstStepTime == nil
	if silent && !ready {
		return
	}
	if silent {
		if wait := progressPatience - now.Sub(since); wait > 0 {
			a.revisitIn = wait
			return
		}
	}
	a.phase, a.reason, a.message = phaseRunning, v1.ReasonTraining, fmt.Sprintf("pod %s trains", pod.Name)
}

// await says what a pod waits for that has not started.
func (a *attempt) await(o observation, pod *corev1.Pod, now time.Time) {
	a.pending = true
	a.message = fmt.Sprintf("pod %s starts", pod.Name)
	if gated(pod) {
		a.phase, a.reason, a.message = phaseQueued, v1.ReasonQueued, "the pod waits for its scheduling gates"
		return
	}
	reason, message, revisitIn := whyBlocked(o, pod, now)
	if reason != "" {
		a.phase, a.reason, a.message = phaseBlocked, reason, message
	}
	a.revisitIn = cmp.Or(a.revisitIn, revisitIn)
}

// progressPatience is how long a pod that is ready may take to tell its progress, so that the state Running and the
// first numbers are one write. After that it runs all the same.
const progressPatience = 5 * time.Second

// judge says why an attempt failed, and whether that was its own fault.
func (a *attempt) judge(pod *corev1.Pod, end *corev1.ContainerStateTerminated, word contract.Termination) {
	a.phase = phaseFailed
	if why := disruption(pod, end); why != "" {
		a.phase, a.reason, a.message = phaseDisrupted, v1.ReasonDisrupted, why
		return
	}
	if end == nil {
		a.reason = v1.ReasonTrainerError
		a.message = cmp.Or(pod.Status.Message, pod.Status.Reason, failedBeside(pod), "its pod failed without a word")
		return
	}
	code := contract.ExitCode(end.ExitCode)
	a.permanent = code.Permanent()
	a.reason, a.message = explain(pod, end, word)
}

// explain names the failure of the trainer by its exit code, in its own words where it left some, else by the end of its
// log.
func explain(pod *corev1.Pod, end *corev1.ContainerStateTerminated, word contract.Termination) (reason, message string) {
	if end.Reason == "OOMKilled" {
		return v1.ReasonOutOfMemory, fmt.Sprintf("the trainer needed more memory than spec.resources.memory (%s) allows: raise it, or lower spec.training.batchSize",
			memoryLimit(pod))
	}
	message = cmp.Or(word.Message, lastLines(end.Message), end.Reason)
	switch contract.ExitCode(end.ExitCode) {
	case contract.ExitConfig:
		return v1.ReasonInvalidSpec, message
	case contract.ExitData:
		return v1.ReasonInvalidData, message
	case contract.ExitStorage:
		return v1.ReasonStorageUnreachable, message
	case contract.ExitDiverged:
		return v1.ReasonDiverged, message
	case contract.ExitFenced:
		return v1.ReasonFenced, message
	case contract.ExitStopped: // with a deletion it would be a disruption; without, it must not be free for ever
		return v1.ReasonTrainerError,
			"it got SIGTERM from somebody other than Kubernetes, saved a checkpoint and stopped (exit code 75)"
	}
	return v1.ReasonTrainerError, fmt.Sprintf("%s: %s", exitCode(end.ExitCode), message)
}

// exitCode names the signal behind a code of a shell, such as 137.
func exitCode(code int32) string {
	if signal := syscall.Signal(code - 128); code > 128 && code <= 128+31 {
		return fmt.Sprintf("exit code %d (%s)", code, signal)
	}
	return fmt.Sprintf("exit code %d", code)
}

// disruption says what ended a pod from outside, "" if nothing did.
func disruption(pod *corev1.Pod, end *corev1.ContainerStateTerminated) string {
	if pod == nil {
		return "its pod was deleted"
	}
	if c := podHas(pod, corev1.DisruptionTarget); c != nil {
		return strings.TrimSuffix(fmt.Sprintf("its pod was disrupted (%s): %s", c.Reason, c.Message), ": ")
	}
	switch {
	case end != nil && contract.ExitCode(end.ExitCode).Permanent():
		return "" // a wrong spec stays wrong, even if the pod was being deleted as well
	case !pod.DeletionTimestamp.IsZero():
		return "its pod was deleted"
	case end == nil && rejected(pod):
		return strings.TrimSuffix(fmt.Sprintf("the node did not take its pod (%s): %s", pod.Status.Reason, pod.Status.Message), ": ")
	}
	return ""
}
