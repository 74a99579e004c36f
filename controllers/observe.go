package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// observation is all that decide looks at.
type observation struct {
	job *v1.ResNetTrainingJob
	// attempt is the number of the newest attempt that exists or is on record; 0 before the first.
	attempt int32
	// child is the Job of that attempt; nil if there is none.
	child *batchv1.Job
	// pods of the child; what is left of them, if it was deleted.
	pods []corev1.Pod
	// deactivated is the Workload of the child if it was taken out of its queue for good; "" if not.
	deactivated string
	// podRefusal is what the Job controller last said when it could not create a pod; "" if it said nothing.
	podRefusal string
	// refusal is what kept the decision that was made on the rest of this from being applied.
	refusal refusal
	// mountFailure is what the kubelet last said when it could not mount a volume of the newest pod; "" if it said nothing,
	// or the pod is past that.
	mountFailure string
	// followedPod is the pod whose trainer this manager has asked for its progress; "" if it did not ask any of this attempt.
	followedPod string
	// progress last pulled from the trainer of that attempt; nil if none was.
	progress *contract.Progress
	// advanced is when that trainer last made a step or began a new phase, or when this manager began to ask it; zero if
	// it did not.
	advanced time.Time
	// answered is when that trainer last answered; zero if it did not.
	answered time.Time
	// explainedAt is when this manager last wrote what is waited for; zero if it never did.
	explainedAt time.Time
	// progressWritten is when progress was last written to the status; zero if this manager never did.
	progressWritten time.Time
}

// observe reads everything from the cache. It returns nil if the job is gone or going: its children follow by
// garbage collection.
func (r *Reconciler) observe(ctx context.Context, key types.NamespacedName) (*observation, error) {
	job := &v1.ResNetTrainingJob{}
	err := r.Get(ctx, key, job)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if err != nil || !job.DeletionTimestamp.IsZero() {
		r.puller.forget(key)
		r.explained.Delete(key)
		return nil, nil
	}
	o := &observation{job: job, attempt: job.Status.Attempt}
	// The next attempt may exist already: created by a manager that died before it wrote the status.
	for _, n := range []int32{job.Status.Attempt + 1, job.Status.Attempt} {
		child, err := r.childOf(ctx, job, n)
		if err != nil {
			return nil, err
		}
		if child != nil {
			o.attempt, o.child = n, child
			break
		}
	}
	r.puller.tell(o)
	if at, ok := r.explained.Load(key); ok {
		o.explainedAt = at.(time.Time)
	}
	if o.pods, err = r.podsOf(ctx, o); err != nil {
		return nil, err
	}
	if o.child != nil && held(o.child) && (len(o.pods) > 0 || o.ranIn() != "" || edited(*o)) {
		if o.deactivated, err = r.deactivatedWorkload(ctx, o.child); err != nil {
			return nil, err
		}
	}
	if o.child != nil {
		pod := o.pod()
		switch {
		case pod == nil && o.ranIn() != "":
			o.child, err = r.childAtTheEnd(ctx, o.child)
		case pod == nil:
			o.podRefusal, err = r.podRefusalOf(ctx, o.child)
		case pod.Status.Phase == corev1.PodPending:
			o.mountFailure, err = r.mountFailureOf(ctx, pod)
		}
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

// childOf returns the child Job of an attempt, nil if there is none.
func (r *Reconciler) childOf(ctx context.Context, job *v1.ResNetTrainingJob, attempt int32) (*batchv1.Job, error) {
	if attempt == 0 {
		return nil, nil
	}
	child := &batchv1.Job{}
	err := r.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: childName(job.Name, attempt)}, child)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get Job of attempt %d: %w", attempt, err)
	}
	if err != nil || !metav1.IsControlledBy(child, job) {
		return nil, nil
	}
	return child, nil
}

// childAtTheEnd reads a child past the cache once its pod is gone: the Job controller lets a pod go after it has counted
// it, but the cache may show that later.
func (r *Reconciler) childAtTheEnd(ctx context.Context, cached *batchv1.Job) (*batchv1.Job, error) {
	if jobHas(cached, batchv1.JobComplete) || jobHas(cached, batchv1.JobFailed) {
		return cached, nil
	}
	child := &batchv1.Job{}
	err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(cached), child)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get Job %s: %w", cached.Name, err)
	}
	if err != nil || child.UID != cached.UID {
		return nil, nil
	}
	return child, nil
}

// podsOf returns the pods of an attempt. They outlive a child that was deleted in the background.
func (r *Reconciler) podsOf(ctx context.Context, o *observation) (pods []corev1.Pod, err error) {
	if o.attempt == 0 {
		return nil, nil
	}
	name := childName(o.job.Name, o.attempt)
	var list corev1.PodList
	if err := r.List(ctx, &list, client.InNamespace(o.job.Namespace), client.MatchingFields{ownerIndex: name}); err != nil {
		return nil, fmt.Errorf("list pods of Job %s: %w", name, err)
	}
	for _, pod := range list.Items {
		if o.child == nil || metav1.IsControlledBy(&pod, o.child) {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// podRefusalOf is the newest event that says why a child has no pod.
func (r *Reconciler) podRefusalOf(ctx context.Context, child *batchv1.Job) (string, error) {
	var list corev1.EventList
	if err := r.List(ctx, &list, client.InNamespace(child.Namespace), client.MatchingFields{subjectIndex: string(child.UID)}); err != nil {
		return "", fmt.Errorf("list events of Job %s: %w", child.Name, err)
	}
	return newestMessage(list.Items, func(e corev1.Event) (string, time.Time) {
		if e.Series != nil {
			return e.Message, e.Series.LastObservedTime.Time
		}
		return e.Message, cmp.Or(e.LastTimestamp.Time, e.EventTime.Time)
	}), nil
}

// mountFailureOf is the newest event that says why a pod has not its volumes.
func (r *Reconciler) mountFailureOf(ctx context.Context, pod *corev1.Pod) (string, error) {
	var list eventsv1.EventList
	if err := r.List(ctx, &list, client.InNamespace(pod.Namespace), client.MatchingFields{subjectIndex: string(pod.UID)}); err != nil {
		return "", fmt.Errorf("list events of pod %s: %w", pod.Name, err)
	}
	return newestMessage(list.Items, func(e eventsv1.Event) (string, time.Time) {
		if e.Series != nil {
			return e.Note, e.Series.LastObservedTime.Time
		}
		return e.Note, cmp.Or(e.DeprecatedLastTimestamp.Time, e.EventTime.Time)
	}), nil
}

// newestMessage of events of either API; "" if there are none. read returns what an event says, and when it last did.
func newestMessage[E any](list []E, read func(E) (string, time.Time)) (message string) {
	var last time.Time
	for _, e := range list {
		if text, at := read(e); message == "" || at.After(last) {
			message, last = text, at
		}
	}
	return message
}
