package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// small is a job of some seconds an epoch.
const small = `
dataset: {format: Synthetic, maxTrainImages: 768, maxTestImages: 128}
training: {epochs: %d, batchSize: 64, schedule: {maxLR: 0.003}}
storage: {uri: s3://e2e/jobs, s3: {endpoint: "http://minio.minio:9000", credentialsSecret: {name: s3-credentials}}}
resources: {cpu: "1", memory: 2Gi}
`

// The manager is killed in mid-training, and nobody notices.
func TestAJobRunsToItsEnd(t *testing.T) {
	create(t, newJob(t, "whole", fmt.Sprintf(small, 3)))
	job := waitForState(t, "whole", v1.StateRunning, 2*time.Minute)
	t.Logf("apply to first step: %s", job.Status.FirstStepTime.Sub(job.CreationTimestamp.Time))
	if err := kube.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(managers), client.MatchingLabels{"app.kubernetes.io/name": managers}, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	job = waitForState(t, "whole", v1.StateSucceeded, 5*time.Minute)

	s := job.Status
	if s.Attempt != 1 || s.Failures != 0 || s.Disruptions != 0 {
		t.Errorf("attempt %d, failures %d, disruptions %d: want 1, 0, 0", s.Attempt, s.Failures, s.Disruptions)
	}
	if s.Display.Epoch != "3/3" || s.Progress.Step != 36 || s.Progress.Steps != 36 || s.Progress.Loss == nil || s.Progress.Accuracy == nil {
		t.Errorf("progress is %+v", s.Progress)
	}
	prefix := prefixOf(job)
	keys := objects(t, prefix)
	for _, want := range []string{
		contract.LatestKey, contract.BestKey, contract.ModelKey, contract.MetricsKey(1), contract.LogKey(1),
		contract.CheckpointsPrefix + "/" + contract.CheckpointName(3, 36, 1) + "/manifest.json",
	} {
		if !keys[want] {
			t.Errorf("%s is not in the bucket, which has %v", want, keys)
		}
	}
	if want := "s3://e2e/" + prefix + contract.ModelKey; s.Artifacts.Model != want {
		t.Errorf("status.artifacts.model is %q, want %q", s.Artifacts.Model, want)
	}
	if row := kubectl(t, "get", "resnetjobs", "whole"); !strings.Contains(row, "Succeeded   3/3") {
		t.Errorf("kubectl get shows\n%s", row)
	}
	kubectl(t, "wait", "--for=condition=Complete", "resnetjob/whole", "--timeout=1s")
	story := kubectl(t, "describe", "resnetjob", "whole")
	if n := strings.Count(story[strings.LastIndex(story, "Events:"):], "Succeeded"); n != 1 {
		t.Errorf("event Succeeded appears %d times, want once:\n%s", n, story)
	}
	checkNoSecret(t)
	deleteAndSeeEverythingGone(t, job)
}

// The pod is killed without a warning: the second attempt goes on from the last checkpoint.
func TestAKilledPodIsReplacedAndResumes(t *testing.T) {
	create(t, newJob(t, "killed", fmt.Sprintf(small, 4)))
	eventually(t, 3*time.Minute, func() error {
		if c := get(t, "killed").Status.Checkpoint; c == nil {
			return fmt.Errorf("no checkpoint yet")
		}
		return nil
	})
	err := kube.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(namespace), client.MatchingLabels{jobLabel: "killed"}, client.GracePeriodSeconds(0))
	if err != nil {
		t.Fatal(err)
	}
	job := waitForState(t, "killed", v1.StateSucceeded, 5*time.Minute)
	if s := job.Status; s.Attempt != 2 || s.Disruptions != 1 || s.Failures != 0 || s.Display.Epoch != "4/4" {
		t.Errorf("attempt %d, disruptions %d, failures %d, epoch %s: want 2, 1, 0, 4/4", s.Attempt, s.Disruptions, s.Failures, s.Display.Epoch)
	}
	if log := kubectl(t, "logs", "job/killed-2"); !strings.Contains(log, "-a1") {
		t.Errorf("attempt 2 did not resume from a checkpoint of attempt 1:\n%s", log)
	}
	deleteAndSeeEverythingGone(t, job)
}

// Suspend ends the pod with a checkpoint; resume goes on from it.
func TestSuspendAndResume(t *testing.T) {
	create(t, newJob(t, "paused", fmt.Sprintf(small, 4)))
	waitForState(t, "paused", v1.StateRunning, 2*time.Minute)
	kubectl(t, "patch", "resnetjob", "paused", "--type=merge", `-p={"spec":{"suspend":true}}`)
	job := waitForState(t, "paused", v1.StateSuspended, time.Minute)
	if pods := kubectl(t, "get", "pods", "-l", jobLabel+"=paused", "-o", "name"); pods != "" {
		t.Errorf("suspended, but there is %s", pods)
	}
	if job.Status.Checkpoint == nil {
		t.Error("suspended without a checkpoint in the status")
	}
	kubectl(t, "patch", "resnetjob", "paused", "--type=merge", `-p={"spec":{"suspend":false}}`)
	job = waitForState(t, "paused", v1.StateSucceeded, 5*time.Minute)
	if s := job.Status; s.Attempt != 2 || s.Failures+s.Disruptions != 0 {
		t.Errorf("attempt %d, failures %d, disruptions %d: want 2, 0, 0", s.Attempt, s.Failures, s.Disruptions)
	}
	deleteAndSeeEverythingGone(t, job)
}

func deleteAndSeeEverythingGone(t *testing.T, job *v1.ResNetTrainingJob) {
	t.Helper()
	if err := kube.Delete(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	ours := client.MatchingLabels{jobLabel: job.Name}
	eventually(t, time.Minute, func() error {
		var jobs batchv1.JobList
		var pods corev1.PodList
		if err := kube.List(t.Context(), &jobs, client.InNamespace(namespace), ours); err != nil {
			return err
		}
		if err := kube.List(t.Context(), &pods, client.InNamespace(namespace), ours); err != nil {
			return err
		}
		if n := len(jobs.Items) + len(pods.Items); n > 0 {
			return fmt.Errorf("%d Jobs and %d pods are left", len(jobs.Items), len(pods.Items))
		}
		return nil
	})
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(job), &v1.ResNetTrainingJob{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the job is still there: %v", err)
	}
}
