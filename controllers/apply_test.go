package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestWhatIsRefused(t *testing.T) {
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	answer := func(code int32, message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Message: message}}
	}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"a quota": {apierrors.NewForbidden(jobs, "net-1", errors.New("exceeded quota")), true},
		"no code, as Kyverno": {
			answer(http.StatusBadRequest, `admission webhook "validate.kyverno.svc-fail" denied the request: no`), true},
		"too large, as a policy": {
			answer(http.StatusRequestEntityTooLarge,
				`jobs.batch "net-1" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no`), true},
		"a webhook with a code": {
			answer(http.StatusTooManyRequests, `admission webhook "x" denied the request: later`), true},
		"a webhook that is away": {
			apierrors.NewInternalError(errors.New(`failed calling webhook "x": failed to call webhook: service "x" not found`)),
			true},
		"a policy: unauthorized": {
			answer(http.StatusUnauthorized,
				`jobs.batch "net-1" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no`), true},
		"a name that is taken":             {errNameTaken, true},
		"invalid":                          {apierrors.NewInvalid(schema.GroupKind{}, "net-1", nil), true},
		"a server that is busy":            {apierrors.NewTooManyRequests("later", 1), false},
		"a server that is slow":            {apierrors.NewServerTimeout(jobs, "create", 1), false},
		"an error within":                  {apierrors.NewInternalError(errors.New("etcdserver: leader changed")), false},
		"no server":                        {errors.New("connection refused"), false},
		"a Job of another policy.Decision": {apierrors.NewConflict(jobs, "net-1", errors.New("changed")), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := denied(fmt.Errorf("create Job net-1: %w", c.err)); got != c.want {
				t.Errorf("%v: refused %v, want %v", c.err, got, c.want)
			}
		})
	}
}

// The real Reconciler under policies: what is refused is told, the rest goes on.
func TestAPolicyIsTold(t *testing.T) {
	w := newWorld()
	defer w.r.puller.forget(team)
	reconcile := func() {
		t.Helper()
		if err := w.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.refuses = true
	reconcile()
	if s := w.job.Status; s.State != v1.StatePending || s.Attempt != 0 {
		t.Errorf("%s, attempt %d: want Pending before the first attempt", s.State, s.Attempt)
	}
	w.refuses = false
	reconcile()
	w.controlJob(1)
	w.start(1, w.pods[1][0])
	w.pods[1][0].Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: Earlier}}
	reconcile()
	w.keeps, w.job.Spec.Suspend = true, true
	for range 3 {
		reconcile()
	}
	if s := w.job.Status; s.State != v1.StateRunning || reasonFor(s) != v1.ReasonDeleteRefused {
		t.Errorf("%s, %s: want Running, DeleteRefused", s.State, reasonFor(s))
	}
	if len(w.r.puller.snapshot()) != 1 {
		t.Error("a pod that goes on is asked no more")
	}
	w.keeps = false
	reconcile()
	if s := w.job.Status; reasonFor(s) != v1.ReasonSuspending || w.children[1].DeletionTimestamp == nil {
		t.Errorf("%s, %s: want the pod to be stopped", s.State, reasonFor(s))
	}
	if _, err := w.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: team}); err != nil {
		t.Error(err)
	}
}
