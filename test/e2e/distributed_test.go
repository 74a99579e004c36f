package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// inTwoPods trains for a minute, if nothing comes between.
const inTwoPods = `
model: {widthMultiplier: 0.125}
dataset: {format: Synthetic, maxTrainImages: 2048, maxTestImages: 64}
training: {epochs: 6, batchSize: 32}
distributed: {pods: 2}
checkpoint: {everySeconds: 10}` + inBucket + onLittle

// Two pods train one network. Whatever happens to one of them, the job ends with the weights of an undisturbed one.
func TestTwoPodsTrainOneNetwork(t *testing.T) {
	t.Parallel()
	begin(t, "two", inTwoPods)
	begin(t, "two-disturbed", inTwoPods+"\nretry: {maxFailures: 2, backoffSeconds: 1}")

	waitForAttempt(t, "two-disturbed", 1)
	eventually(t, time.Minute, func() error { // also a rank that tells nothing of the training is ready once it trains
		if ready, _ := childjob.TrainerReady(podOfRank(t, "two", 1, 1)); !ready {
			return errors.New("rank 1 is not ready")
		}
		return nil
	})
	signalTrainer(t, podOfRank(t, "two-disturbed", 1, 1), syscall.SIGKILL)
	killed := time.Now()
	waitForEvent(t, "two-disturbed", "TrainerError", "two-disturbed-1-1", "exit code 137")
	if s := waitForAttempt(t, "two-disturbed", 2).Status; s.Failures != 1 || s.Disruptions != 0 {
		t.Errorf("failures %d, disruptions %d after a killed rank: want 1, 0", s.Failures, s.Disruptions)
	}
	t.Logf("from the end of rank 1 to the next step: %s", time.Since(killed).Round(time.Second))

	pod := podOfRank(t, "two-disturbed", 2, 0)
	if err := kube.SubResource("eviction").Create(t.Context(), pod, &policyv1.Eviction{}); err != nil {
		t.Fatal(err)
	}
	waitForEvent(t, "two-disturbed", "Disrupted", "EvictionByEvictionAPI")
	if s := waitForAttempt(t, "two-disturbed", 3).Status; s.Failures != 1 || s.Disruptions != 1 {
		t.Errorf("failures %d, disruptions %d after an eviction: want 1, 1", s.Failures, s.Disruptions)
	}

	want, got := trainedModel(t, "two"), trainedModel(t, "two-disturbed")
	if want != got {
		t.Errorf("the model is %s, that of the undisturbed job %s", got, want)
	}
}

// A pod that finds no node is told of, beside how many run.
func TestOneOfTwoPodsFindsNoNode(t *testing.T) {
	t.Parallel()
	begin(t, "half", strings.Replace(inTwoPods, "distributed:", `template:
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
    {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {`+jobLabel+`: half}}}]}}
distributed:`, 1))
	waitForMessage(t, "half", v1.StatePending, "Unschedulable", "1 of 2 pods run; no node fits the pod", "anti-affinity")
}

// trainedModel waits until a job has succeeded, and returns the SHA-256 of its weights.
func trainedModel(t *testing.T, name string) string {
	t.Helper()
	job := waitForState(t, name, v1.StateSucceeded, 5*time.Minute)
	return fmt.Sprintf("%x", sha256.Sum256(object(t, job, contract.ModelKey)))
}
