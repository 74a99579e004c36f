package controllers

import (
	"context"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	// queuePrefix of Kueue's labels: queue-name, priority-class and others are passed on to the child.
	queuePrefix = "kueue.x-k8s.io/"
	// labelQueue names the queue.
	labelQueue = queuePrefix + "queue-name"
	// labelPriority names the priority within it.
	labelPriority = queuePrefix + "priority-class"
)

// enqueue passes the labels for the queueing system on to the child, not to its pod: Kueue labels pods itself. The child
// begins suspended, so that no pod can slip through before the queue has seen it; from then on suspend is the queue's.
func enqueue(job *v1.ResNetTrainingJob, child *batchv1.Job) {
	for label, value := range job.Labels {
		if strings.HasPrefix(label, queuePrefix) {
			child.Labels[label] = value
		}
	}
	if job.Labels[labelQueue] != "" {
		child.Spec.Suspend = ptr.To(true)
	}
}

// deactivatedWorkload is the name of Kueue's Workload of a child that was taken out of the queue for good: by an
// administrator, or because its time (the label max-exec-time-seconds) is over; "" if it was not. Nobody else tells a
// Job that was stopped for good from one that lost its quota for a while. It is read past the cache, and seldom needed.
func (r *Reconciler) deactivatedWorkload(ctx context.Context, child *batchv1.Job) (string, error) {
	mapping, err := r.RESTMapper().RESTMapping(schema.GroupKind{Group: "kueue.x-k8s.io", Kind: "Workload"})
	if meta.IsNoMatchError(err) {
		return "", nil // another queueing system
	}
	if err != nil {
		return "", fmt.Errorf("look for Kueue: %w", err)
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(mapping.GroupVersionKind)
	err = r.APIReader.List(ctx, list, client.InNamespace(child.Namespace), client.MatchingLabels{queuePrefix + "job-uid": string(child.UID)})
	if apierrors.IsForbidden(err) {
		log.FromContext(ctx).Info("a job that Kueue stopped for good would be started again: bind the role in config/rbac/kueue.yaml", "error", err.Error())
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list the Workload of Job %s: %w", child.Name, err)
	}
	for _, workload := range list.Items {
		if active, found, _ := unstructured.NestedBool(workload.Object, "spec", "active"); found && !active {
			return workload.GetName(), nil
		}
	}
	return "", nil
}
