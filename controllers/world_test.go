package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// world is an API server with one job, and what is true of its pods, whether or not the manager can know. The
// Reconciler in it is the real one: TestAnyLife lets anything happen around it.
type world struct {
	client.Client // panics where a method is missing below
	r             *Reconciler
	clock         *clocktesting.FakePassiveClock

	job      *v1.ResNetTrainingJob // nil once it is deleted
	children map[int32]*batchv1.Job
	pods     map[int32][]*corev1.Pod
	trainers map[string]*fakeTrainer // by pod
	trained  map[int32]bool          // attempts in which a trainer ran
	unknown  map[int32]bool          // attempts that no manager knows of any more, should their children be gone
	ran      map[int32]string        // the pod of an attempt of which a manager has seen that the trainer ran
	released map[int32]time.Time     // when an attempt last had to wait for nothing but the cluster
	told     []corev1.Event          // by the Job controller and the kubelet
	listed   []time.Time             // when the manager listed events
	next     time.Duration           // when it wants to look again; 0 for never
	born     int                     // jobs and pods so far

	ranks int             // pods of an attempt
	fault map[string]bool // pods that failed by themselves

	partition bool // the manager cannot reach pods
	dies      bool // the manager dies before it has written the status
	refuses   bool // a policy lets no Job be created
	keeps     bool // a policy lets no Job be deleted
	quota     bool // lets no pod be created
	secret    bool // events cannot be read
	final     *v1.ResNetTrainingJobStatus
	broken    []string // what must not have been done
}

// fakeTrainer is what a trainer knows of itself.
type fakeTrainer struct {
	progress contract.Progress
	stepAt   time.Time
	heardAt  time.Time // when the manager last got an answer
}

var errDied = errors.New("the manager is dead")

func newWorld() *world {
	w := &world{
		clock: clocktesting.NewFakePassiveClock(Now.Time), children: map[int32]*batchv1.Job{},
		pods:     map[int32][]*corev1.Pod{},
		trainers: map[string]*fakeTrainer{}, ran: map[int32]string{}, released: map[int32]time.Time{},
		trained: map[int32]bool{}, unknown: map[int32]bool{},
		ranks: 1, fault: map[string]bool{},
	}
	w.newManager()
	w.create()
	return w
}

// newManager knows nothing but what the API server tells.
func (w *world) newManager() {
	w.r = &Reconciler{
		Client: w, APIReader: w, Recorder: w, Clock: w.clock, Defaults: childjob.Defaults{Image: "trainer"},
		metrics: newMetrics(), puller: newPuller(w.clock, time.Hour), events: newEventReader(w, w.clock),
	}
	w.r.puller.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("nobody answers")
	}
}

// restart lets the manager die, with all that it knows: also a status that it has not written yet. Another one takes
// over.
func (w *world) restart() {
	w.r.puller.forget(team)
	w.newManager()
	w.forget()
	for n := range w.ran {
		if w.job == nil || n != w.job.Status.Attempt || w.job.Status.PodName == "" {
			delete(w.ran, n)
		}
	}
}

// forget notes the attempts that are not in the status.
func (w *world) forget() {
	for n := range w.released {
		w.unknown[n] = w.unknown[n] || w.job != nil && n > w.job.Status.Attempt
	}
}

func (w *world) now() time.Time { return w.clock.Now() }

func (w *world) stamp() metav1.Time { return metav1.NewTime(w.now()) }

// create makes the job, under another UID each time.
func (w *world) create() {
	w.born++
	w.job = NewJob()
	w.job.UID = types.UID(fmt.Sprint("u-", w.born))
	w.job.CreationTimestamp = w.stamp()
	w.final = nil
}

// remove deletes the job, with all that it owns.
func (w *world) remove() {
	w.job = nil
	clear(w.children)
	clear(w.pods)
	clear(w.ran)
	clear(w.released)
	clear(w.trained)
	clear(w.unknown)
	w.told = nil
}

func (w *world) reconcile(ctx context.Context) error {
	result, err := w.r.Reconcile(ctx, ctrl.Request{NamespacedName: team})
	for n, pods := range w.pods {
		for _, p := range pods {
			if yes, _ := childjob.TrainerStarted(p); yes && err == nil && w.ran[n] == "" && childjob.Index(p) == 0 {
				w.ran[n] = p.Name
			}
		}
	}
	if w.next = result.RequeueAfter; w.next < 0 {
		w.wrong("look again in %s", w.next)
	}
	return err
}

func (w *world) wrong(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// pull lets those trainers answer that are asked and can be reached.
func (w *world) pull(ctx context.Context) {
	for _, e := range w.r.puller.snapshot() {
		if t := w.trainers[e.pod]; t != nil && !w.partition && !w.gone(e.pod) {
			p := t.progress
			t.heardAt = w.now()
			w.r.puller.store(ctx, e.job, &p)
		}
	}
}

func (w *world) gone(pod string) bool {
	for _, pods := range w.pods {
		if slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return p.Name == pod }) {
			return false
		}
	}
	return true
}

// controlJob is what the Job controller does for one Job: it follows spec.suspend, makes the pods, and ends a Job with
// the first that fails, or with rank 0.
func (w *world) controlJob(n int32) {
	c := w.children[n]
	if c.DeletionTimestamp != nil || childjob.JobHas(c, batchv1.JobFailed) || childjob.JobHas(c, batchv1.JobComplete) {
		return
	}
	suspended := slices.IndexFunc(c.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobSuspended
	})
	if childjob.Suspended(c) {
		if suspended < 0 {
			c.Status.Conditions = append(c.Status.Conditions, batchv1.JobCondition{Type: batchv1.JobSuspended})
			suspended = len(c.Status.Conditions) - 1
		}
		c.Status.Conditions[suspended].Status, c.Status.Conditions[suspended].LastTransitionTime =
			corev1.ConditionTrue, w.stamp()
		w.stopAll(n)
		return
	}
	if suspended >= 0 && c.Status.Conditions[suspended].Status == corev1.ConditionTrue {
		c.Status.Conditions[suspended].Status, c.Status.Conditions[suspended].LastTransitionTime =
			corev1.ConditionFalse, w.stamp()
		c.Status.StartTime = ptr.To(w.stamp())
	}
	if c.Status.StartTime == nil {
		c.Status.StartTime = ptr.To(w.stamp())
	}
	c.Status.Active = 0
	there := map[int]bool{}
	for _, p := range w.pods[n] {
		switch {
		case p.Status.Phase == corev1.PodSucceeded && childjob.Index(p) == 0:
			Complete(c)
			w.stopAll(n)
			return
		case p.Status.Phase == corev1.PodFailed, p.DeletionTimestamp != nil && w.ranks > 1:
			c.Status.Conditions = append(c.Status.Conditions,
				batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue})
			w.stopAll(n)
			return
		case p.DeletionTimestamp == nil:
			there[childjob.Index(p)] = true
			if p.Status.Phase != corev1.PodSucceeded {
				c.Status.Active++
			}
		}
	}
	for index := range w.ranks {
		if there[index] {
			continue
		}
		if w.quota {
			w.tell("Job", "FailedCreate", c.UID, `Error creating: pods "net-1-0-x" is forbidden: exceeded quota: team`)
			return
		}
		w.born++
		p := Pod(corev1.PodPending, Index(index), Called(fmt.Sprintf("net-%d-%d-%d", n, index, w.born)))
		p.CreationTimestamp, p.Status.PodIP = w.stamp(), ""
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(c, batchv1.SchemeGroupVersion.WithKind("Job"))}
		p.UID = types.UID(fmt.Sprint("p-", w.born))
		w.pods[n] = append(w.pods[n], &p)
		c.Status.Active++
	}
}

// stopAll pods of an attempt that run.
func (w *world) stopAll(n int32) {
	for _, p := range w.pods[n] {
		if !childjob.PodEnded(p) {
			w.stop(p)
		}
	}
}

// tell is an event.
func (w *world) tell(kind, reason string, subject types.UID, message string) {
	w.told = append(w.told, corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: kind, UID: subject}, Reason: reason, Message: message,
		LastTimestamp: w.stamp(),
	})
}

// stop tells a pod to end.
func (w *world) stop(p *corev1.Pod) {
	if p.DeletionTimestamp == nil {
		p.DeletionTimestamp = ptr.To(metav1.NewTime(w.now().Add(contract.GracePeriod)))
	}
}

// start runs the trainer in a pod.
func (w *world) start(n int32, p *corev1.Pod) {
	p.Status.Phase, p.Status.PodIP = corev1.PodRunning, "10.1.2."+strconv.Itoa(w.born%250)
	p.Status.Conditions = nil
	Container(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: w.stamp()}})(p)
	w.trained[n] = true
	progress := contract.Progress{Attempt: n, Phase: contract.PhaseLoading}
	w.trainers[p.Name] = &fakeTrainer{progress: progress, stepAt: w.now()}
}

// What follows is the API server, as far as the Reconciler uses it.

func (w *world) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch into := into.(type) {
	case *v1.ResNetTrainingJob:
		if w.job != nil {
			w.job.DeepCopyInto(into)
			return nil
		}
	case *batchv1.Job:
		for _, c := range w.children {
			if c.Name == key.Name {
				c.DeepCopyInto(into)
				return nil
			}
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (w *world) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	switch list := list.(type) {
	case *corev1.PodList: // of all attempts: those of others are not controlled by the child
		for _, of := range w.pods {
			for _, p := range of {
				list.Items = append(list.Items, *p.DeepCopy())
			}
		}
	case *corev1.EventList:
		w.listed = append(w.listed, w.now())
		if !slices.ContainsFunc(slices.Collect(maps.Keys(w.children)), w.stuck) {
			w.wrong("events are listed, and nothing is stuck")
		}
		if w.secret {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("no"))
		}
		wanted := (&client.ListOptions{}).ApplyOptions(opts).FieldSelector
		for _, e := range w.told {
			if wanted.Matches(fields.Set{"involvedObject.kind": e.InvolvedObject.Kind, "reason": e.Reason}) {
				list.Items = append(list.Items, e)
			}
		}
	}
	return nil
}

// stuck is true for an attempt that has waited for two seconds for a pod that its Job controller could not create, or
// that its node prepares.
func (w *world) stuck(n int32) bool {
	c := w.children[n]
	if c.DeletionTimestamp != nil || childjob.Suspended(c) || jobEnds(c) || c.Status.StartTime == nil {
		return false
	}
	if len(w.pods[n]) < w.ranks {
		return w.now().Sub(c.Status.StartTime.Time) >= 2*time.Second
	}
	return slices.ContainsFunc(w.pods[n], func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue &&
				w.now().Sub(c.LastTransitionTime.Time) >= 2*time.Second
		}) && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionFalse
		})
	})
}

// schedule puts a pod on a node, which has its volumes and network still to prepare.
func (w *world) schedule(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: w.stamp()},
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse, LastTransitionTime: w.stamp()},
	}
}

// prepare lets its node have done so.
func (w *world) prepare(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionTrue }

func (w *world) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	c := o.(*batchv1.Job)
	n := attemptOf(c)
	switch {
	case w.refuses:
		return apierrors.NewForbidden(schema.GroupResource{}, c.Name, errors.New("a policy denies it"))
	case w.children[n] != nil:
		return apierrors.NewAlreadyExists(schema.GroupResource{}, c.Name)
	case n != w.job.Status.Attempt+1:
		w.wrong("attempt %d is created after attempt %d", n, w.job.Status.Attempt)
	case w.job.Spec.Suspend:
		w.wrong("a suspended job begins an attempt")
	case w.final != nil:
		w.wrong("a finished job begins an attempt")
	case w.trained[n] && !w.unknown[n]:
		w.wrong("attempt %d, in which a trainer ran, is created again", n)
	}
	w.trained[n], w.unknown[n] = false, false
	w.born++
	c.UID, c.CreationTimestamp = types.UID(fmt.Sprint("c-", w.born)), w.stamp()
	w.children[n], w.released[n] = c.DeepCopy(), w.now()
	delete(w.ran, n)
	delete(w.pods, n)
	return nil
}

func (w *world) Delete(_ context.Context, o client.Object, _ ...client.DeleteOption) error {
	switch o := o.(type) {
	case *v1.ResNetTrainingJob:
		if w.final == nil {
			w.wrong("a job that has not finished is deleted")
		}
		w.remove()
	case *batchv1.Job:
		if w.keeps {
			return apierrors.NewForbidden(schema.GroupResource{}, o.Name, errors.New("a policy denies it"))
		}
		n := attemptOf(o)
		w.children[n].DeletionTimestamp = ptr.To(w.stamp())
		for _, p := range w.pods[n] {
			w.stop(p)
		}
	}
	return nil
}

// RESTMapper knows of no Kueue.
func (w *world) RESTMapper() meta.RESTMapper { return meta.NewDefaultRESTMapper(nil) }

func (w *world) Status() client.SubResourceWriter { return &worldStatus{w: w} }

type worldStatus struct {
	client.SubResourceWriter
	w *world
}

func (s *worldStatus) Apply(
	_ context.Context, patch runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption,
) error {
	w := s.w
	if w.dies {
		w.forget()
		return errDied
	}
	b, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	var after v1.ResNetTrainingJob
	if err := json.Unmarshal(b, &after); err != nil {
		return err
	}
	before := w.job.Status
	w.job.Status = after.Status
	w.judge(before, after.Status)
	return nil
}

// Eventf is events.EventRecorder.
func (w *world) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

// judge compares a verdict with what is true.
func (w *world) judge(before, after v1.ResNetTrainingJobStatus) {
	if after.Attempt < before.Attempt || after.Failures < before.Failures || after.Disruptions < before.Disruptions {
		w.wrong("a count went down: %+v, before %+v", after, before)
	}
	if w.final != nil && !sameEnd(*w.final, after) {
		w.wrong("a finished job changed: %s", after.State)
	}
	n := after.Attempt
	reason := ""
	for _, kind := range []string{v1.ConditionProgressing, v1.ConditionFailed} {
		if c := meta.FindStatusCondition(after.Conditions, kind); c != nil {
			reason = c.Reason
		}
	}
	switch {
	case reason == v1.ReasonStartDeadline && before.CompletionTime == nil && w.children[n] != nil && !w.refuses:
		limit := time.Duration(ptr.Deref(w.job.Spec.StartDeadlineSeconds, 0)) * time.Second
		if waited := w.now().Sub(w.released[n]); waited < limit || w.allRan(n) || w.waitsInQueue(n) {
			w.wrong("attempt %d has waited for %s, ran %v, queued %v, and is failed for its start deadline", n, waited,
				w.allRan(n), w.waitsInQueue(n))
		}
	case reason == v1.ReasonProgressDeadline && after.Failures > before.Failures:
		limit := time.Duration(ptr.Deref(w.job.Spec.ProgressDeadlineSeconds, 0)) * time.Second
		for _, p := range w.pods[n] {
			trainer := w.trainers[p.Name]
			if ready, _ := childjob.TrainerReady(p); !ready || childjob.Index(p) > 0 {
				continue
			}
			if w.now().Sub(trainer.stepAt) < limit && w.now().Sub(trainer.heardAt) > policy.AnswerTimeout {
				w.wrong("a pod that trains is taken for hung")
			}
		}
	case slices.Contains(blockedBy, reason) && w.children[n] != nil && w.waitsInQueue(n):
		w.wrong("attempt %d waits in a queue and is said to be blocked: %s", n, reason)
	}
	if w.ranks > 1 && n == before.Attempt && reason != v1.ReasonProgressDeadline {
		w.judgePods(n, after.Failures > before.Failures, after.Disruptions > before.Disruptions)
	}
	if after.CompletionTime != nil && w.final == nil {
		w.final = after.DeepCopy()
	}
}

// allRan is true for an attempt in which all trainers have run, as the manager knows.
func (w *world) allRan(n int32) bool {
	started := 0
	for _, p := range w.pods[n] {
		if yes, _ := childjob.TrainerStarted(p); yes {
			started++
		}
	}
	return w.ran[n] != "" && (w.ranks == 1 || started == w.ranks)
}

// judgePods: an attempt fails by a pod that failed by itself, and never because of what followed from the end of another.
func (w *world) judgePods(n int32, failure, disruption bool) {
	fault := slices.ContainsFunc(w.pods[n], func(p *corev1.Pod) bool { return w.fault[p.Name] })
	lost := slices.ContainsFunc(w.pods[n], func(p *corev1.Pod) bool { return childjob.Lost(p, w.now()) })
	switch {
	case failure && !fault:
		w.wrong("attempt %d counts as a failure, and none of its pods failed by itself", n)
	case w.children[n] == nil || w.children[n].DeletionTimestamp != nil: // by a manager that died before it told why
	case disruption && fault && !lost:
		w.wrong("attempt %d, of which a pod failed by itself, does not count", n)
	}
}

// blockedBy are reasons that ask somebody to act.
var blockedBy = []string{v1.ReasonUnschedulable, v1.ReasonPodRefused, v1.ReasonPodConfig, v1.ReasonImagePull}

// waitsInQueue is true for an attempt that Kueue holds back, as a Job or as a pod.
func (w *world) waitsInQueue(n int32) bool {
	return w.children[n].DeletionTimestamp == nil && (childjob.Suspended(w.children[n]) ||
		slices.ContainsFunc(w.pods[n], func(p *corev1.Pod) bool { return p.DeletionTimestamp == nil && childjob.Gated(p) }))
}

// sameEnd compares what is final of a finished job.
func sameEnd(a, b v1.ResNetTrainingJobStatus) bool {
	a.ObservedGeneration, b.ObservedGeneration = 0, 0
	a.Progress, a.Checkpoint, b.Progress, b.Checkpoint = nil, nil, nil, nil
	return equality.Semantic.DeepEqual(a, b)
}

// works is true for a child that has a pod which trains, or would get one.
func works(o policy.Observation, now time.Time) bool {
	lost := func(p corev1.Pod) bool { return childjob.Lost(&p, now) }
	if childjob.JobHas(o.Child, batchv1.JobComplete) || childjob.JobHas(o.Child, batchv1.JobFailed) ||
		childjob.JobHas(o.Child, batchv1.JobFailureTarget) ||
		len(o.Pods) > 0 && !slices.ContainsFunc(o.Pods, func(p corev1.Pod) bool { return !lost(p) }) {
		return false
	}
	if o.Job != nil && o.Job.Spec.Pods() > 1 && slices.ContainsFunc(o.Pods, func(p corev1.Pod) bool {
		return childjob.TrainerEnded(&p) && !childjob.Succeeded(&p)
	}) {
		return false // the Job controller ends it
	}
	pod := o.Pod()
	return childjob.Suspended(o.Child) || pod == nil || !childjob.PodEnded(pod)
}

func attemptOf(child *batchv1.Job) int32 {
	n, _ := strconv.Atoi(child.Labels[childjob.LabelAttempt])
	return int32(n)
}

// jobEnds is true for a Job that the Job controller has done with, or is about to.
func jobEnds(c *batchv1.Job) bool {
	return childjob.JobHas(c, batchv1.JobComplete) || childjob.JobHas(c, batchv1.JobFailed) ||
		childjob.JobHas(c, batchv1.JobFailureTarget) || childjob.JobHas(c, batchv1.JobSuccessCriteriaMet)
}
