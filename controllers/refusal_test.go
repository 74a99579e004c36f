package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
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
		"a quota":                   {apierrors.NewForbidden(jobs, "net-1", errors.New("exceeded quota")), true},
		"no code, as Kyverno":       {answer(http.StatusBadRequest, `admission webhook "validate.kyverno.svc-fail" denied the request: no`), true},
		"too large, as a policy":    {answer(http.StatusRequestEntityTooLarge, `jobs.batch "net-1" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no`), true},
		"a webhook with a code":     {answer(http.StatusTooManyRequests, `admission webhook "x" denied the request: later`), true},
		"a webhook that is away":    {apierrors.NewInternalError(errors.New(`failed calling webhook "x": failed to call webhook: service "x" not found`)), true},
		"a policy: unauthorized":    {answer(http.StatusUnauthorized, `jobs.batch "net-1" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no`), true},
		"a name that is taken":      {errNameTaken, true},
		"invalid":                   {apierrors.NewInvalid(schema.GroupKind{}, "net-1", nil), true},
		"a server that is busy":     {apierrors.NewTooManyRequests("later", 1), false},
		"a server that is slow":     {apierrors.NewServerTimeout(jobs, "create", 1), false},
		"an error within":           {apierrors.NewInternalError(errors.New("etcdserver: leader changed")), false},
		"no server":                 {errors.New("connection refused"), false},
		"a Job of another decision": {apierrors.NewConflict(jobs, "net-1", errors.New("changed")), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refused(fmt.Errorf("create Job net-1: %w", c.err)); got != c.want {
				t.Errorf("%v: refused %v, want %v", c.err, got, c.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	create := func(o observation) observation { o.refusal.create = "create Job net-1: no"; return o }
	remove := func(o observation) observation { o.refusal.delete = "delete Job net-1: no"; return o }
	leaving := func(o observation) observation { o.refusal.leaving = "waits until Job net-1 is gone"; return o }
	pending := verdict{State: v1.StatePending, Condition: "Progressing", Reason: "PodRefused", Message: "create Job net-1: no",
		Events: []string{"Warning PodRefused"}, RequeueAfter: 10 * time.Second}
	active := func(ago time.Duration) *v1.ResNetTrainingJob { // it has waited for so long
		job := with(newJob(), startWithin(60))
		job.Status.State, job.Status.ActiveSince = v1.StatePending, ptr.To(after(-ago))
		return job
	}
	checkDecisions(t, map[string]row{
		"a new job": {create(observed(newJob())), pending},
		"its start deadline passes": {create(observed(active(time.Minute))),
			verdict{State: v1.StateFailed, Condition: "Failed", Reason: "StartDeadlineExceeded",
				Message: "no pod ran within spec.startDeadlineSeconds of 60: create Job net-1: no", Events: []string{"Warning StartDeadlineExceeded"}}},
		"a retry stays between two attempts": {create(observed(restarting(1, 0), child(1), pod(corev1.PodFailed, killed("Error", 1, "")))),
			verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "PodRefused", Message: "create Job net-1: no", Attempt: 1, Failures: 1,
				Events: []string{"Warning PodRefused"}, RequeueAfter: 10 * time.Second}},
		"a resumed job is suspended no more": {create(observed(suspended(1))),
			verdict{State: v1.StateRestarting, Condition: "Suspended", Reason: "Resumed", Message: "spec.suspend is false", Attempt: 1,
				Events: []string{"Warning PodRefused"}, RequeueAfter: 10 * time.Second}},
		"an earlier job of that name is being deleted: nobody has to act": {leaving(observed(newJob())),
			verdict{State: v1.StatePending, Condition: "Progressing", Reason: "NameInUse", Message: "waits until Job net-1 is gone", RequeueAfter: time.Second}},
		"a suspension that is not possible: the pod trains on": {remove(observed(suspend(with(running(1), startWithin(60))), child(1, created(-time.Hour)), pod(corev1.PodRunning, readyPod))),
			verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "DeleteRefused", Message: "delete Job net-1: no", Attempt: 1, Delete: []string{"net-1"},
				Events: []string{"Warning DeleteRefused"}, RequeueAfter: 10 * time.Second, ProgressURL: "http://10.1.2.3:8080/progress"}},
		"an end is an end": {remove(observed(with(running(1), activeFor(3600)), child(1), pod(corev1.PodRunning, readyPod))),
			verdict{State: v1.StateFailed, Condition: "Failed", Reason: "ActiveDeadlineExceeded", Message: "spec.activeDeadlineSeconds of 3600 is over",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Warning ActiveDeadlineExceeded"}, RequeueAfter: 10 * time.Second}},
		"and is tried again": {remove(observed(succeeded(1), child(1), pod(corev1.PodRunning, readyPod))),
			verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded", Message: "done", Attempt: 1, Delete: []string{"net-1"}, RequeueAfter: 10 * time.Second}},
	})
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
	w.pods[1][0].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: earlier}}
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
