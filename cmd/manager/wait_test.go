package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// life is a job that is in one state after the other, each time that it is read; an error is one of the API server.
func life(t *testing.T, stages ...any) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
			stage := stages[0]
			if len(stages) > 1 {
				stages = stages[1:]
			}
			if err, ok := stage.(error); ok {
				return err
			}
			object.(*v1.ResNetTrainingJob).Status = stage.(v1.ResNetTrainingJobStatus)
			return nil
		},
	}).Build()
}

func in(state v1.State, kind, reason, message string) v1.ResNetTrainingJobStatus {
	return v1.ResNetTrainingJobStatus{State: state, Conditions: []metav1.Condition{
		{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}}}
}

func TestWait(t *testing.T) {
	starts := in(v1.StateStarting, v1.ConditionProgressing, "AttemptCreated", "attempt 1 created")
	stuck := in(v1.StatePending, v1.ConditionProgressing, "Unschedulable", "no node\nfits the pod")
	for name, test := range map[string]struct {
		stages     []any
		said, want string
	}{
		"to the end": {[]any{v1.ResNetTrainingJobStatus{}, starts, starts, errors.New("etcd is away"),
			in(v1.StateSucceeded, v1.ConditionComplete, "Succeeded", "the model is saved")},
			"team/net: Starting, AttemptCreated: attempt 1 created\n" +
				"team/net: the API server did not answer, and is asked again: etcd is away\n" +
				"team/net: Succeeded, Succeeded: the model is saved\n", ""},
		"to a failure": {[]any{in(v1.StateFailed, v1.ConditionFailed, "Diverged", "lower the learning rate")}, "",
			"job team/net: Failed, Diverged: lower the learning rate"},
		"too long": {[]any{stuck}, "", "job team/net has not ended in time: Pending, Unschedulable: no node fits the pod"},
		"without a manager": {[]any{v1.ResNetTrainingJobStatus{}}, "",
			"job team/net has not ended in time: no manager has taken the job up"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			var out strings.Builder
			err := followJob(ctx, life(t, test.stages...), client.ObjectKey{Namespace: "team", Name: "net"}, 10*time.Millisecond, &out)
			if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if test.said != "" && out.String() != test.said {
				t.Errorf("said %q", out.String())
			}
		})
	}
	// No such job, for a real API server's answer.
	scheme := runtime.NewScheme()
	_ = v1.AddToScheme(scheme)
	none := fake.NewClientBuilder().WithScheme(scheme).Build()
	err := followJob(t.Context(), none, client.ObjectKey{Namespace: "team", Name: "net"}, time.Minute, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "job team/net: ") || !strings.Contains(err.Error(), "not found") {
		t.Errorf("no such job: %v", err)
	}
}

func TestWaitWithBadArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                 "want the name of one job behind the flags, got []",
		"a b":              `want the name of one job behind the flags, got ["a" "b"]`,
		"--timeout=0s a":   "--timeout is 0s: it must be more than 0s",
		"--timeout=soon a": `invalid value "soon" for flag -timeout`,
		"--name=a":         "flag provided but not defined: -name",
	} {
		var out strings.Builder
		if err := waitForJob(t.Context(), strings.Fields(args), &out); err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%q: %v, %q", args, err, out.String())
		}
	}
}
