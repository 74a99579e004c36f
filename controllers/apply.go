package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// apply deletes and creates the children that the decision names; in this order, so that no two of them work at a time.
func (r *Reconciler) apply(ctx context.Context, o *policy.Observation, d policy.Decision) (policy.Denied, error) {
	for _, name := range d.Delete {
		if err := r.deleteChild(ctx, o.Job, name); err != nil {
			err = fmt.Errorf("delete Job %s: %w", name, err)
			if denied(err) {
				return policy.Denied{Delete: err.Error()}, nil
			}
			return policy.Denied{}, err
		}
	}
	if d.Create == 0 {
		return policy.Denied{}, nil
	}
	child, err := childjob.Build(o.Job, d.Create, r.Defaults)
	if err != nil {
		return policy.Denied{}, err
	}
	err = r.Create(ctx, child)
	if apierrors.IsAlreadyExists(err) {
		err = r.ours(ctx, o.Job, child.Name)
	}
	switch {
	case err == nil:
		return policy.Denied{}, nil
	case errors.Is(err, errTerminating):
		message := fmt.Sprintf("waits until Job %s, of an earlier job of this name, is gone", child.Name)
		return policy.Denied{NameInUse: message}, nil
	}
	err = fmt.Errorf("create Job %s: %w", child.Name, err)
	if denied(err) {
		return policy.Denied{Create: err.Error()}, nil
	}
	return policy.Denied{}, err
}

// deleteChild deletes a Job if it is a child of job.
func (r *Reconciler) deleteChild(ctx context.Context, job *v1.ResNetTrainingJob, name string) error {
	child := &batchv1.Job{}
	if err := r.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: name}, child); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !metav1.IsControlledBy(child, job) {
		return nil
	}
	// Foreground: the Job stays until its pods, which may be saving a checkpoint, are gone.
	err := r.Delete(ctx, child, client.PropagationPolicy(metav1.DeletePropagationForeground),
		client.Preconditions{UID: &child.UID})
	return client.IgnoreNotFound(err)
}

// deleteJob deletes a job whose time is over; its children follow by garbage collection. A job that was changed since
// it was observed, perhaps to live longer, is looked at again.
func (r *Reconciler) deleteJob(ctx context.Context, job *v1.ResNetTrainingJob) error {
	err := r.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion})
	return client.IgnoreNotFound(err)
}

var (
	// errNameTaken: the Job that an attempt needs exists and belongs to something else.
	errNameTaken = errors.New("a Job of this name exists and belongs to something else: delete or rename it")
	// errTerminating: the same, but it is about to be deleted.
	errTerminating = errors.New("a Job of this name is being deleted")
)

// denied is true for an error that stays until somebody acts: a quota, a policy, a webhook that denies or is away, a
// name that is taken. Others, such as that of a server which is busy, pass.
func denied(err error) bool {
	if errors.Is(err, errNameTaken) {
		return true
	}
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return false
	}
	lasting := []int32{
		http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity,
	}
	if slices.Contains(lasting, answer.Status().Code) {
		return true
	}
	// Who denies may do so with any code; a webhook that cannot be called is an internal error.
	message := answer.Status().Message
	return strings.Contains(message, "webhook") || strings.Contains(message, "AdmissionPolicy")
}

// ours checks that an existing Job is the child of job. It asks the API server, because the cache holds no others.
func (r *Reconciler) ours(ctx context.Context, job *v1.ResNetTrainingJob, name string) error {
	existing := &batchv1.Job{}
	if err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: name}, existing); err != nil {
		if apierrors.IsNotFound(err) {
			return errTerminating
		}
		return err
	}
	owner := metav1.GetControllerOf(existing)
	switch {
	case metav1.IsControlledBy(existing, job):
		return nil
	case !existing.DeletionTimestamp.IsZero(), owner != nil && owner.Kind == v1.Kind && owner.Name == job.Name:
		return errTerminating // the garbage collector has still to see that the job before this one was deleted
	}
	return errNameTaken
}
