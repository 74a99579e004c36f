package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Whenever a job is deleted, its Jobs and pods go with it. It has no finalizer that could hold it up. (At its end:
// TestAJobRunsToItsEnd; while it starts: TestDeletionWhileTheContainerStarts.)
func TestDeletionAtAnyMoment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec  string
		state v1.State // to delete it in; "" is at once
	}{
		"deleted-at-once":    {steady, ""},
		"deleted-pending":    {steady + "\nimage: registry.invalid/trainer:none", v1.StatePending},
		"deleted-running":    {steady, v1.StateRunning},
		"deleted-restarting": {failing + "\nretry: {maxFailures: 2, backoffSeconds: 600}", v1.StateRestarting},
		"deleted-suspended":  {steady + "\nsuspend: true", v1.StateSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := newJob(t, name, c.spec)
			create(t, job)
			if c.state != "" {
				job = waitForState(t, name, c.state, 2*time.Minute)
			}
			if len(job.Finalizers) > 0 {
				t.Errorf("the job has finalizers: %v", job.Finalizers)
			}
			deleteAndSeeEverythingGone(t, job)
		})
	}
}

// A pod that is deleted while its container starts does not miss it: the kernel drops a SIGTERM to a process 1 that has no
// handler yet, and such a pod would train on for its whole grace period. One in seven did.
func TestDeletionWhileTheContainerStarts(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		name := fmt.Sprintf("deleted-soon-%d", n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := newJob(t, name, steady)
			create(t, job)
			podOf(t, name, 1)
			time.Sleep(time.Duration(n) * 100 * time.Millisecond)
			deleteAndSeeEverythingGone(t, job)
		})
	}
}

// A job that nobody looks at any more goes by itself, with its pods. The model stays.
func TestTimeToLive(t *testing.T) {
	t.Parallel()
	begin(t, "short-lived", quick+"\nttlSecondsAfterFinished: 5")
	job := waitForState(t, "short-lived", v1.StateSucceeded, 2*time.Minute)
	waitUntilGone(t, job.DeepCopy())
	waitUntilNoPodIsLeft(t, "short-lived")
	if left := time.Since(job.Status.CompletionTime.Time); left < 5*time.Second {
		t.Errorf("it went after %s, want 5 s", left)
	}
	if !objects(t, prefixOf(job))[contract.ModelKey] {
		t.Error("the model went with the job")
	}
}

// The end is the end, whatever becomes of the children, and whatever is edited.
func TestAFinishedJobNeverRunsAgain(t *testing.T) {
	t.Parallel()
	begin(t, "finished", quick)
	job := waitForState(t, "finished", v1.StateSucceeded, 2*time.Minute)
	if names := kubectl(t, "get", "resnetjobs", "--field-selector=status.state=Succeeded", "-o", "name"); !strings.Contains(names, "/finished\n") {
		t.Errorf("--field-selector=status.state=Succeeded finds %q", names)
	}
	kubectl(t, "delete", "job", "finished-1")
	for _, suspend := range []bool{true, false} {
		kubectl(t, "patch", "resnetjob", "finished", "--type=merge", fmt.Sprintf(`-p={"spec":{"suspend":%v,"image":"other:%v"}}`, suspend, suspend))
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var children batchv1.JobList
		if err := kube.List(t.Context(), &children, client.InNamespace(namespace), client.MatchingLabels{jobLabel: "finished"}); err != nil {
			t.Fatal(err)
		}
		if now := get(t, "finished"); len(children.Items) > 0 || now.Status.State != v1.StateSucceeded || now.Status.Attempt != job.Status.Attempt {
			t.Fatalf("%d Jobs, state %s, attempt %d: want 0, Succeeded, %d", len(children.Items), now.Status.State, now.Status.Attempt, job.Status.Attempt)
		}
	}
}

// What decides the numbers cannot be edited, and kubectl says why.
func TestImmutableFields(t *testing.T) {
	t.Parallel()
	begin(t, "fixed", steady+"\nsuspend: true")
	for field, edit := range map[string]string{
		"model":    `{"model":{"widthMultiplier":2}}`,
		"dataset":  `{"dataset":{"maxTrainImages":64}}`,
		"training": `{"training":{"epochs":3}}`,
		"storage":  `{"storage":{"uri":"s3://e2e/elsewhere"}}`,
	} {
		out, err := exec.Command("kubectl", "-n", namespace, "patch", "resnetjob", "fixed", "--type=merge", `-p={"spec":`+edit+`}`).CombinedOutput()
		if want := "spec." + field; err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "is immutable: create another job") {
			t.Errorf("%s: kubectl says %q, want that %s is immutable", edit, out, want)
		}
	}
}
