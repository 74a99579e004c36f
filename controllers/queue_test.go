package controllers

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// A manager of one namespace may lack the right: it works as if nobody had stopped anything.
func TestWorkloadsMayBeHidden(t *testing.T) {
	kind := schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: "Workload"}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{kind.GroupVersion()})
	mapper.Add(kind, meta.RESTScopeNamespace)
	answer := func(err error) *Reconciler {
		cluster := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithRESTMapper(mapper).
			WithInterceptorFuncs(interceptor.Funcs{
				List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return err },
			}).Build()
		return &Reconciler{Client: cluster, APIReader: cluster}
	}
	workloads := schema.GroupResource{Group: kind.Group, Resource: "workloads"}
	forbidden, late := apierrors.NewForbidden(workloads, "", nil), apierrors.NewServerTimeout(workloads, "list", 1)
	if got, err := answer(forbidden).deactivatedWorkload(t.Context(), Child(1)); got != "" || err != nil {
		t.Errorf("%q, %v: want none", got, err)
	}
	if _, err := answer(late).deactivatedWorkload(t.Context(), Child(1)); err == nil {
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
			cluster := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).
				WithRESTMapper(c.mapper).WithObjects(c.workload).Build()
			r := &Reconciler{Client: cluster, APIReader: cluster}
			if got, err := r.deactivatedWorkload(t.Context(), Child(1)); err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}
