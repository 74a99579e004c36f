package controllers

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// TestNewJobsGoBeforeProgress: in the queue of the controller.
func TestNewJobsGoBeforeProgress(t *testing.T) {
	queue := priorityqueue.New[reconcile.Request]("test")
	defer queue.ShutDown()
	running, created := types.NamespacedName{Name: "running"}, types.NamespacedName{Name: "created"}
	progressHandler.Generic(t.Context(), changeEvent{Object: running}, queue)
	queue.Add(reconcile.Request{NamespacedName: created})
	for _, want := range []types.NamespacedName{created, running} {
		if got, _, _ := queue.GetWithPriority(); got.NamespacedName != want {
			t.Errorf("%s comes first, not %s", got.Name, want.Name)
		}
	}
}
