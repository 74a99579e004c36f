package controllers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// refusal is what kept the last decision from being applied, and will until somebody acts; all empty if nothing did.
type refusal struct {
	// create: the child cannot be created.
	create string
	// delete: a child cannot be deleted, and nothing that should have come after it was done.
	delete string
	// leaving: something of the child's name is about to go; nobody has to act.
	leaving string
}

var (
	// errNameTaken: the Job that an attempt needs exists and belongs to something else.
	errNameTaken = errors.New("a Job of this name exists and belongs to something else: delete or rename it")
	// errLeaving: the same, but it is about to be deleted.
	errLeaving = errors.New("a Job of this name is being deleted")
)

// refused is true for an error that stays until somebody acts: a quota, a policy, a webhook that denies or is away, a
// name that is taken. Others, such as that of a server which is busy, pass.
func refused(err error) bool {
	if errors.Is(err, errNameTaken) {
		return true
	}
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return false
	}
	lasting := []int32{http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}
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
			return errLeaving
		}
		return err
	}
	owner := metav1.GetControllerOf(existing)
	switch {
	case metav1.IsControlledBy(existing, job):
		return nil
	case !existing.DeletionTimestamp.IsZero(), owner != nil && owner.Kind == v1.Kind && owner.Name == job.Name:
		return errLeaving // the garbage collector has still to see that the job before this one was deleted
	}
	return errNameTaken
}

// notCreated: the next attempt cannot begin. One on record is over and counted, so a job that had one stays between two
// attempts.
func (d *decision) notCreated(o observation, now time.Time) {
	since := now
	switch at := d.status.ActiveSince; {
	case d.between():
		d.status.State = v1.StateRestarting
		if d.status.RetryTime == nil {
			d.status.RetryTime = timeOf(now)
		}
		since = d.status.RetryTime.Time
	case at != nil:
		since = at.Time
		fallthrough
	default:
		d.status.State = v1.StatePending
	}
	if meta.IsStatusConditionTrue(d.status.Conditions, v1.ConditionSuspended) {
		d.condition(o, now, v1.ConditionSuspended, metav1.ConditionFalse, v1.ReasonResumed, "spec.suspend is false")
	}
	if o.refusal.leaving != "" {
		d.condition(o, now, v1.ConditionProgressing, metav1.ConditionTrue, v1.ReasonNameInUse, o.refusal.leaving)
		d.lookAgain(time.Second)
		return
	}
	if !d.neverStarted(o, since, o.refusal.create, now) {
		d.explain(o, now, attempt{reason: v1.ReasonPodRefused, message: o.refusal.create})
		d.lookAgain(progressInterval)
	}
}

// notDeleted takes back what was decided, except the end of a job: a child that has to go first cannot be deleted, so it
// goes on.
func (d *decision) notDeleted(o observation, a attempt, now time.Time) {
	if d.finished() {
		d.lookAgain(progressInterval)
		return
	}
	before := *o.job.Status.DeepCopy()
	before.ObservedGeneration = d.status.ObservedGeneration
	before.Progress, before.Checkpoint, before.PodName = d.status.Progress, d.status.Checkpoint, d.status.PodName
	*d = decision{status: before, delete: d.delete}
	d.explain(o, now, attempt{reason: v1.ReasonDeleteRefused, message: o.refusal.delete})
	d.pull(a)
	d.lookAgain(progressInterval)
}
