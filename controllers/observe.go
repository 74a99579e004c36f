package controllers

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// managed is false for a job that another controller looks after.
func managed(job *v1.ResNetTrainingJob) bool {
	return ptr.Deref(job.Spec.ManagedBy, v1.ManagedByOperator) == v1.ManagedByOperator
}

// observe reads everything from the cache, but what is seldom needed. It returns nil if the job is another
// controller's, or is gone or going: its children follow by garbage collection.
func (r *Reconciler) observe(ctx context.Context, key types.NamespacedName) (*policy.Observation, error) {
	job := &v1.ResNetTrainingJob{}
	err := r.Get(ctx, key, job)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if err != nil || !managed(job) || !job.DeletionTimestamp.IsZero() {
		r.puller.forget(key)
		r.conditionWritten.Delete(key)
		r.held.forget(key)
		r.ended.forget(key)
		return nil, nil
	}
	o := &policy.Observation{Job: job, Attempt: job.Status.Attempt}
	// The next attempt may exist already: created by a manager that died before it wrote the status.
	for _, n := range []int32{job.Status.Attempt + 1, job.Status.Attempt} {
		child, err := r.childOf(ctx, job, n)
		if err != nil {
			return nil, err
		}
		if child != nil {
			o.Attempt, o.Child = n, child
			break
		}
	}
	r.held.observe(o)
	o.WriteLatency = r.latency.get(r.Clock.Now())
	r.puller.observe(o)
	if at, ok := r.conditionWritten.Load(key); ok {
		o.ConditionWritten = at.(time.Time)
	}
	if o.Pods, err = r.podsOf(ctx, o); err != nil {
		return nil, err
	}
	r.ended.observe(o)
	if o.Child != nil && childjob.Suspended(o.Child) && (len(o.Pods) > 0 || o.RanIn() != "" || o.Edited()) {
		if o.DeactivatedWorkload, err = r.deactivatedWorkload(ctx, o.Child); err != nil {
			return nil, err
		}
	}
	now := r.Clock.Now()
	switch unprepared := o.Unprepared(now); {
	case o.Child != nil && o.Pod() == nil && o.RanIn() != "":
		if o.Child, err = r.childAtTheEnd(ctx, o.Child); err != nil {
			return nil, err
		}
	case o.AsksFailedCreate(now):
		o.FailedCreate = r.events.failedCreate(ctx, o.Child)
	case unprepared != nil:
		o.FailedMount = r.events.failedMount(ctx, unprepared)
	}
	return o, nil
}

// childOf returns the child Job of an attempt, nil if there is none.
func (r *Reconciler) childOf(ctx context.Context, job *v1.ResNetTrainingJob, attempt int32) (*batchv1.Job, error) {
	if attempt == 0 {
		return nil, nil
	}
	child := &batchv1.Job{}
	err := r.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: childjob.Name(job.Name, attempt)}, child)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get Job of attempt %d: %w", attempt, err)
	}
	if err != nil || !metav1.IsControlledBy(child, job) {
		return nil, nil
	}
	return child, nil
}

// childAtTheEnd reads a child past the cache once its pod is gone: the Job controller lets a pod go after it has
// counted it, but the cache may show that later.
func (r *Reconciler) childAtTheEnd(ctx context.Context, cached *batchv1.Job) (*batchv1.Job, error) {
	if childjob.JobHas(cached, batchv1.JobComplete) || childjob.JobHas(cached, batchv1.JobFailed) {
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
func (r *Reconciler) podsOf(ctx context.Context, o *policy.Observation) (pods []corev1.Pod, err error) {
	if o.Attempt == 0 {
		return nil, nil
	}
	name := childjob.Name(o.Job.Name, o.Attempt)
	var list corev1.PodList
	err = r.List(ctx, &list, client.InNamespace(o.Job.Namespace), client.MatchingFields{ownerIndex: name})
	if err != nil {
		return nil, fmt.Errorf("list pods of Job %s: %w", name, err)
	}
	for _, pod := range list.Items {
		if o.Child == nil || metav1.IsControlledBy(&pod, o.Child) {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}
