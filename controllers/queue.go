package controllers

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

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
	err = r.APIReader.List(ctx, list, client.InNamespace(child.Namespace),
		client.MatchingLabels{childjob.QueuePrefix + "job-uid": string(child.UID)})
	if apierrors.IsForbidden(err) {
		log.FromContext(ctx).Info("a job that Kueue stopped for good would be started again: "+
			"bind the role in config/rbac/kueue.yaml", "error", err.Error())
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
