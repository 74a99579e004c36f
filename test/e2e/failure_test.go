package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	// failing ends at once with another program's error: the image is not the trainer's.
	failing = steady + "\nimage: resnet-operator/minio:dev\nimagePullPolicy: Never"

	diverging = `
model: {widthMultiplier: 0.125}
dataset: {format: Synthetic, maxTrainImages: 256, maxTestImages: 64}
training: {epochs: 5, batchSize: 32, optimizer: {type: SGD, lr: 1000}, schedule: {type: Constant}}` + inBucket + onLittle

	// large needs two gigabytes for its weights alone.
	large = `
model: {architecture: ResNet34, widthMultiplier: 5}
dataset: {format: Synthetic, maxTrainImages: 64, maxTestImages: 64}
training: {epochs: 1, batchSize: 32}` + inBucket + "\nresources: {cpu: 200m, memory: 200Mi}"
)

// A failed attempt is repeated after a wait that doubles; after spec.retry.maxFailures the job has failed. The last words
// of the last attempt are kept, and so is its pod; the bucket of one that never trained is empty.
func TestFailuresAreRepeated(t *testing.T) {
	t.Parallel()
	begin(t, "failing", failing+"\nretry: {maxFailures: 3, backoffSeconds: 3}")
	planned := time.Time{} // the beginning of the attempt
	for attempt, wait := range []time.Duration{3 * time.Second, 6 * time.Second} {
		attempt := int32(attempt + 1)
		job := get(t, "failing")
		eventually(t, time.Minute, func() error {
			job = get(t, "failing")
			if s := job.Status; s.State != v1.StateRestarting || s.Attempt != attempt {
				return fmt.Errorf("attempt %d is %s: want %d, Restarting", s.Attempt, s.State, attempt)
			}
			return nil
		})
		s := job.Status
		if s.AttemptStartTime.Time.Before(planned) {
			t.Errorf("attempt %d began at %s, want %s or later", attempt, s.AttemptStartTime, planned)
		}
		planned = s.RetryTime.Time
		ended := podOf(t, "failing", attempt).Status.ContainerStatuses[0].State.Terminated.FinishedAt
		if got := planned.Sub(ended.Time); got < wait {
			t.Errorf("%s between attempt %d and the next, want %s", got, attempt, wait)
		}
		if s.Failures != attempt || s.Disruptions != 0 {
			t.Errorf("failures %d, disruptions %d: want %d, 0", s.Failures, s.Disruptions, attempt)
		}
	}
	waitForMessage(t, "failing", v1.StateFailed, "TrainerError: ", "gave up after 3 of 3 failures: exit code 1: ", "minio", "train")

	var children batchv1.JobList
	if err := kube.List(t.Context(), &children, client.InNamespace(namespace), client.MatchingLabels{jobLabel: "failing"}); err != nil {
		t.Fatal(err)
	}
	for _, child := range children.Items {
		if child.Name == "failing-1" && child.DeletionTimestamp.IsZero() {
			t.Error("Job failing-1 is kept, which nobody needs any more")
		}
	}
	if log := kubectl(t, "logs", "job/failing-3"); !strings.Contains(log, "minio") {
		t.Errorf("the log of the last attempt is %q", log)
	}
	if names := kubectl(t, "get", "resnetjobs", "--field-selector=status.state=Failed", "-o", "name"); !strings.Contains(names, "/failing\n") {
		t.Errorf("--field-selector=status.state=Failed finds %q", names)
	}
}

// A trainer that was killed could not say anything: the kubelet has its last lines. spec.keepLogs: false turns that off.
func TestTheLastLinesOfACrash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more  string
		lines bool
	}{
		"killed-kept":   {"", true},
		"killed-silent": {"\nkeepLogs: false", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin(t, name, steady+once+c.more)
			waitForState(t, name, v1.StateRunning, 2*time.Minute)
			signalTrainer(t, podOf(t, name, 1), syscall.SIGKILL)
			job := waitForMessage(t, name, v1.StateFailed, "TrainerError: ", "exit code 137 (killed): ")
			if got := strings.Contains(say(job), "level="); got != c.lines {
				t.Errorf("the message is %q; lines of the log: want %v", say(job), c.lines)
			}
		})
	}
}

// What another attempt would not mend ends the job at once; the whole log is in the bucket, unless keepLogs is false.
func TestDivergenceIsTheEnd(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]bool{"diverged": true, "diverged-silent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin(t, name, diverging+fmt.Sprintf("\nkeepLogs: %v", keep))
			job := waitForMessage(t, name, v1.StateFailed, "Diverged: ", "spec.training.optimizer.lr (now 1000)", "step")
			if s := job.Status; s.Attempt != 1 || s.Failures != 1 {
				t.Errorf("attempt %d, failures %d: want 1, 1", s.Attempt, s.Failures)
			}
			if kept := objects(t, prefixOf(job))[contract.LogKey(1)]; kept != keep {
				t.Errorf("%s in the bucket: %v, want %v", contract.LogKey(1), kept, keep)
			}
		})
	}
}

// The kernel ends a trainer that needs too much memory, and the message names the limit.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	begin(t, "large", large+once)
	job := waitForMessage(t, "large", v1.StateFailed, "OutOfMemory: ", "spec.resources.memory (200Mi)", "spec.training.batchSize")
	if end := podOf(t, "large", 1).Status.ContainerStatuses[0].State.Terminated; end == nil || end.Reason != "OOMKilled" {
		t.Errorf("the kubelet says %v", end)
	}
	t.Log(say(job))
}

// The pod as the kubelet runs it: it fits a namespace with restricted pod security, which bare pods do not, and has as
// many threads as its CPU limit has processors, whatever the node has.
func TestThePodOnItsNode(t *testing.T) {
	t.Parallel()
	bare := restrictedPod("bare")
	bare.Spec.SecurityContext, bare.Spec.Containers[0].SecurityContext = nil, nil
	if err := kube.Create(t.Context(), bare, client.DryRunAll); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
		t.Errorf("a pod without a security context gets %v: the namespace shall enforce the restricted standard", err)
	}
	begin(t, "pod", steady)
	waitForState(t, "pod", v1.StateRunning, 2*time.Minute)
	if got := kubectl(t, "exec", "job/pod-1", "--", "sh", "-c", "echo $OMP_NUM_THREADS"); got != "1\n" {
		t.Errorf("OMP_NUM_THREADS is %q with 200m CPUs, want 1", got)
	}
	if log := kubectl(t, "logs", "job/pod-1"); !strings.Contains(log, "threads=1 ") {
		t.Errorf("the trainer does not say that it uses one thread:\n%s", log)
	}
	if class := podOf(t, "pod", 1).Status.QOSClass; class != corev1.PodQOSGuaranteed {
		t.Errorf("quality of service is %s, want Guaranteed", class)
	}
}
