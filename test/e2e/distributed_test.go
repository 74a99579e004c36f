package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// steadyInTwoPods is steady, with two images for each pod.
var steadyInTwoPods = strings.Replace(steady, "batchSize: 2", "batchSize: 4", 1) + "\ndistributed: {pods: 2}"

// withMemory is a folder whose files count as memory of the pod.
const withMemory = `
template:
  volumes: [{name: memory, emptyDir: {medium: Memory}}]
  volumeMounts: [{name: memory, mountPath: /memory}]`

// Two pods train one network. Whatever happens to one of them, the job ends with the weights of an undisturbed one.
func TestTwoPodsTrainOneNetwork(t *testing.T) {
	t.Parallel()
	const name = "two-disturbed"
	begin(t, "two", inTwoPods)
	begin(t, name, inTwoPods+withMemory+"\nretry: {maxFailures: 3, backoffSeconds: 1}")

	waitForAttempt(t, name, 1)
	eventually(t, time.Minute, func() error { // also a rank that tells nothing of the training is ready once it trains
		if ready, _ := childjob.TrainerReady(podOfRank(t, "two", 1, 1)); !ready {
			return errors.New("rank 1 is not ready")
		}
		return nil
	})
	signalTrainer(t, podOfRank(t, name, 1, 1), syscall.SIGKILL)
	killed := time.Now()
	waitForEvent(t, name, "TrainerError", "rank 1", "killed")
	checkCounts(t, waitForAttempt(t, name, 2), 1, 0)
	t.Logf("from the end of rank 1 to the next step: %s", time.Since(killed).Round(time.Second))

	fillMemory(t, podOfRank(t, name, 2, 1))
	waitForEvent(t, name, "OutOfMemory", "rank 1 (pod two-disturbed-2-1", "spec.resources.memory (1Gi)")
	checkCounts(t, waitForAttempt(t, name, 3), 2, 0)

	pod := podOfRank(t, name, 3, 0)
	if err := kube.SubResource("eviction").Create(t.Context(), pod, &policyv1.Eviction{}); err != nil {
		t.Fatal(err)
	}
	waitForEvent(t, name, "Disrupted", "EvictionByEvictionAPI")
	checkCounts(t, waitForAttempt(t, name, 4), 2, 1)

	kubectl(t, "patch", "resnetjob", name, "--type=merge", `-p={"spec":{"suspend":true}}`)
	waitForState(t, name, v1.StateSuspended, time.Minute)
	waitUntilNoPodIsLeft(t, name)
	kubectl(t, "patch", "resnetjob", name, "--type=merge", `-p={"spec":{"suspend":false}}`)
	checkCounts(t, waitForAttempt(t, name, 5), 2, 1)

	want, got := trainedModel(t, "two"), trainedModel(t, name)
	if want != got {
		t.Errorf("the model is %s, that of the undisturbed job %s", got, want)
	}
}

// fillMemory of a pod with a file, until the kernel ends its trainer.
func fillMemory(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	out, err := exec.Command("kubectl", "-n", namespace, "exec", pod.Name, "--",
		"sh", "-c", "head -c 2G /dev/zero >/memory/zeros").CombinedOutput()
	if err == nil { // it ends with its container
		t.Fatalf("there was room for 2 GB: %s", out)
	}
}

func checkCounts(t *testing.T, job *v1.ResNetTrainingJob, failures, disruptions int32) {
	t.Helper()
	if s := job.Status; s.Failures != failures || s.Disruptions != disruptions {
		t.Errorf("failures %d, disruptions %d before attempt %d: want %d, %d", s.Failures, s.Disruptions, s.Attempt,
			failures, disruptions)
	}
}

// As many processes train to the same weights, on however many pods they are.
func TestThreePodsAndOne(t *testing.T) {
	t.Parallel()
	const job = `
model: {widthMultiplier: 0.125}
dataset: {format: Synthetic, maxTrainImages: 192, maxTestImages: 64}
training: {epochs: 1, batchSize: 48}` + inBucket
	begin(t, "three", job+"\ndistributed: {pods: 3}\nresources: {cpu: 100m, memory: 1Gi}")
	begin(t, "three-in-one", job+"\ndistributed: {pods: 1, processesPerPod: 3}\nresources: {cpu: 300m, memory: 3Gi}")
	if three, one := trainedModel(t, "three"), trainedModel(t, "three-in-one"); three != one {
		t.Errorf("the model of three pods is %s, that of three processes of one pod %s", three, one)
	}
}

// A pod that is not like the others ends the job, which says how it differs: here by a variable that holds its index.
func TestAPodUnlikeTheOthers(t *testing.T) {
	t.Parallel()
	begin(t, "unlike", inTwoPods+`
template:
  env:
  - name: ONEDNN_MAX_CPU_ISA
    valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-completion-index']"}}`)
	job := waitForMessage(t, "unlike", v1.StateFailed, "InvalidSpec: rank ", "(pod unlike-1-",
		"rank 1 of 2, on node 1, differs from rank 0 in the kernels: ", "ONEDNN_MAX_CPU_ISA=1")
	t.Log(say(job))
	if s := job.Status; s.Attempt != 1 || s.Failures != 1 {
		t.Errorf("attempt %d, failures %d: want 1, 1", s.Attempt, s.Failures)
	}
}

// A storage that is away when the pods start is waited for, which costs nothing.
func TestPodsWaitForTheStorage(t *testing.T) {
	t.Parallel()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "late"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 9000}}},
	}
	createUntilTheEnd(t, service)
	late := strings.Replace(quick, clusterEndpoint, "http://late.e2e:9000", 1)
	begin(t, "late", late+"\ndistributed: {pods: 2}")
	waitForMessage(t, "late", v1.StateStarting, "Starting: pod late-1-0", "waits since ",
		"http://late.e2e:9000, which does not answer")
	t.Log(say(get(t, "late")))

	servers := &corev1.PodList{}
	if err := kube.List(t.Context(), servers, client.InNamespace("minio")); err != nil {
		t.Fatal(err)
	}
	createUntilTheEnd(t, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "late", Labels: map[string]string{discoveryv1.LabelServiceName: "late"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{servers.Items[0].Status.PodIP}}},
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To[int32](9000)}},
	})
	job := waitForState(t, "late", v1.StateSucceeded, 2*time.Minute)
	checkCounts(t, job, 0, 0)
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
