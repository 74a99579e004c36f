package controllers

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// A new attempt gets a new Workload, which is active: what was stopped for good must not get one.
func TestADeactivatedWorkloadStaysStopped(t *testing.T) {
	stopped := func(o observation) observation { o.deactivated = "job-net-1"; return o }
	wants := verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Deactivated",
		Message: "Workload job-net-1 was deactivated, by an administrator or because its time is over: set its spec.active to true to go on",
		Attempt: 1, Events: []string{"Warning Deactivated"}, RequeueAfter: time.Minute}
	told := wants
	told.Events = nil
	again := queuedJob()
	d := decide(stopped(observed(running(1), child(1, suspendedChild))), now.Time)
	again.Status = d.status
	checkDecisions(t, map[string]row{
		"once its pod is gone":    {stopped(observed(running(1), child(1, suspendedChild))), wants},
		"once its pod has saved":  {stopped(observed(running(1), child(1, suspendedChild), pod(corev1.PodFailed, killed("Error", 75, ""), deletedPod(time.Hour)))), wants},
		"it is told once":         {stopped(observed(again, child(1, suspendedChild))), told},
		"an edit changes nothing": {stopped(observed(with(starting(1), func(s *v1.ResNetTrainingJobSpec) { s.Image = "trainer:2" }), madeFor(t, starting(1), suspendedChild))), wants},
		"active again, it gets in line as the next attempt": {observed(again, child(1, suspendedChild)),
			verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted", Message: "attempt 1 ended, the next one begins: a queueing system took its quota back",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond}},
	})
}

// A manager of one namespace may lack the right: it works as if nobody had stopped anything.
func TestWorkloadsMayBeHidden(t *testing.T) {
	kind := schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: "Workload"}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{kind.GroupVersion()})
	mapper.Add(kind, meta.RESTScopeNamespace)
	answer := func(err error) *Reconciler {
		cluster := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithRESTMapper(mapper).WithInterceptorFuncs(interceptor.Funcs{
			List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return err },
		}).Build()
		return &Reconciler{Client: cluster, APIReader: cluster}
	}
	workloads := schema.GroupResource{Group: kind.Group, Resource: "workloads"}
	if got, err := answer(apierrors.NewForbidden(workloads, "", nil)).deactivatedWorkload(t.Context(), child(1)); got != "" || err != nil {
		t.Errorf("%q, %v: want none", got, err)
	}
	if _, err := answer(apierrors.NewServerTimeout(workloads, "list", 1)).deactivatedWorkload(t.Context(), child(1)); err == nil {
		t.Error("a server that does not answer is taken for one without the Workload")
	}
}

func TestTheWorkloadIsFound(t *testing.T) {
	kind := schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: "Workload"}
	workload := func(name, uid string, active any) *unstructured.Unstructured {
		w := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"active": active}}}
		w.SetGroupVersionKind(kind)
		w.SetNamespace("team")
		w.SetName(name)
		w.SetLabels(map[string]string{"kueue.x-k8s.io/job-uid": uid})
		return w
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{kind.GroupVersion()})
	mapper.Add(kind, meta.RESTScopeNamespace)
	for name, c := range map[string]struct {
		workload *unstructured.Unstructured
		mapper   meta.RESTMapper
		want     string
	}{
		"deactivated":   {workload("w", "c-1", false), mapper, "w"},
		"active":        {workload("w", "c-1", true), mapper, ""},
		"of another":    {workload("w", "c-2", false), mapper, ""},
		"without Kueue": {workload("w", "c-1", false), meta.NewDefaultRESTMapper(nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithRESTMapper(c.mapper).WithObjects(c.workload).Build()
			r := &Reconciler{Client: cluster, APIReader: cluster}
			if got, err := r.deactivatedWorkload(t.Context(), child(1)); err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}
