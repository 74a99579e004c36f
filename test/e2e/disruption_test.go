package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Whoever ends the pod from outside costs the job nothing that it had learnt, and none of its retries.
func TestDisruptionsCostNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		disrupt func(t *testing.T, pod *corev1.Pod)
		why     string
	}{
		"evicted": {func(t *testing.T, pod *corev1.Pod) {
			if err := kube.SubResource("eviction").Create(t.Context(), pod, &policyv1.Eviction{}); err != nil {
				t.Fatal(err)
			}
		}, "EvictionByEvictionAPI"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin(t, name, steady+once)
			waitForState(t, name, v1.StateRunning, 2*time.Minute)
			c.disrupt(t, podOf(t, name, 1))
			waitForEvent(t, name, "Disrupted", c.why)
			goesOn(t, name)
		})
	}
}

// A signal from somebody other than Kubernetes: the trainer saves, and the next attempt goes on. But it is a failure, or a
// pod that stops itself would be started again for ever.
func TestASignalFromNobodyIsAFailure(t *testing.T) {
	t.Parallel()
	begin(t, "terminated", steady+"\nretry: {maxFailures: 2, backoffSeconds: 1}")
	waitForState(t, "terminated", v1.StateRunning, 2*time.Minute)
	signalTrainer(t, podOf(t, "terminated", 1), syscall.SIGTERM)
	waitForEvent(t, "terminated", "TrainerError", "exit code 75")
	if s := waitForAttempt(t, "terminated", 2).Status; s.Disruptions != 0 || s.Failures != 1 {
		t.Errorf("disruptions %d, failures %d: want 0, 1", s.Disruptions, s.Failures)
	}
	if log := kubectl(t, "logs", "job/terminated-2"); !strings.Contains(log, "-a1") {
		t.Errorf("attempt 2 did not resume from a checkpoint of attempt 1:\n%s", log)
	}
}

// goesOn waits until the second attempt trains, from the checkpoint that the first one saved when it was disrupted.
func goesOn(t *testing.T, name string) {
	t.Helper()
	if s := waitForAttempt(t, name, 2).Status; s.Disruptions != 1 || s.Failures != 0 {
		t.Errorf("disruptions %d, failures %d: want 1, 0", s.Disruptions, s.Failures)
	}
	if log := kubectl(t, "logs", podOf(t, name, 2).Name); !strings.Contains(log, "-a1") {
		t.Errorf("attempt 2 did not resume from a checkpoint of attempt 1:\n%s", log)
	}
}

// A node is drained: the pods of a job save and leave, the next ones wait for a node, and say so. This test has the node
// to itself.
func TestANodeIsDrained(t *testing.T) {
	jobs := map[string]string{"drained": steady, "drained-pods": steadyInTwoPods}
	for name, spec := range jobs {
		begin(t, name, spec+once)
	}
	for name := range jobs {
		waitForState(t, name, v1.StateRunning, 2*time.Minute)
	}
	node := podOf(t, "drained", 1).Spec.NodeName
	t.Cleanup(func() { kubectl(t, "uncordon", node) })
	ours := "--pod-selector=" + jobLabel + " in (drained,drained-pods)"
	kubectl(t, "drain", node, ours, "--delete-emptydir-data", "--timeout=2m")
	waitForMessage(t, "drained", v1.StatePending, "Unschedulable: ", "unschedulable")
	waitForMessage(t, "drained-pods", v1.StatePending, "Unschedulable: 0 of 2 pods run; ", "unschedulable")
	kubectl(t, "uncordon", node)
	for name := range jobs {
		goesOn(t, name)
	}
}

// The scheduler takes the node from a job for a pod of higher priority, and gives it back.
func TestPreemption(t *testing.T) {
	t.Parallel()
	high := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "e2e-high"}, Value: 1}
	createUntilTheEnd(t, high)
	begin(t, "preempted", steady+once) // of the priority of all others, which take no node from it
	waitForState(t, "preempted", v1.StateRunning, 2*time.Minute)
	// It does not bear the job beside it, so the scheduler need not be short of anything that other tests want.
	bully := restrictedPod("bully")
	bully.Spec.PriorityClassName = high.Name
	bully.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{jobLabel: "preempted"}},
		}},
	}}
	createUntilTheEnd(t, bully)
	waitForEvent(t, "preempted", "Disrupted", "PreemptionByScheduler")
	waitForMessage(t, "preempted", v1.StatePending, "Unschedulable: ", "anti-affinity")
	forget(t, bully)
	goesOn(t, "preempted")
}

// The node dies with the pod, which stays Terminating for ever: the next attempt does not wait for it. The node is an
// object without a machine; the test is its kubelet until it dies, and the scheduler of the job.
func TestADeadNodeIsLeft(t *testing.T) {
	t.Parallel()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: deadNode}}
	createUntilTheEnd(t, node)
	made := node.DeepCopy()
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}
	if err := kube.Status().Patch(t.Context(), node, client.MergeFrom(made)); err != nil {
		t.Fatal(err)
	}
	begin(t, "stuck", steady+once+`
template:
  schedulerName: by-hand
  tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 10}]`)
	const nobody = "10.244.0.254"
	dead := podOf(t, "stuck", 1)
	t.Cleanup(func() { forget(t, dead) })
	bind(t, dead, node.Name)
	dead.Status.Phase, dead.Status.PodIP, dead.Status.PodIPs = corev1.PodRunning, nobody, []corev1.PodIP{{IP: nobody}}
	dead.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	if err := kube.Status().Update(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	waitForState(t, "stuck", v1.StateRunning, time.Minute)

	// The node sends no more signs of life; Kubernetes finds that out within a minute.
	eventually(t, 3*time.Minute, func() error {
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(dead), dead); err != nil {
			t.Fatal(err)
		}
		if dead.DeletionTimestamp.IsZero() {
			return fmt.Errorf("Kubernetes has not given up pod %s yet", dead.Name)
		}
		return nil
	})
	if grace := *dead.DeletionGracePeriodSeconds; grace != int64(contract.GracePeriod.Seconds()) {
		t.Errorf("the pod has %d s to save, want %s", grace, contract.GracePeriod)
	}
	// The grace shall pass sooner than it would.
	if err := kube.Delete(t.Context(), dead, client.GracePeriodSeconds(5)); err != nil {
		t.Fatal(err)
	}
	waitForEvent(t, "stuck", "Disrupted", "DeletionByTaintManager")
	bind(t, podOf(t, "stuck", 2), realNode(t))
	if s := waitForAttempt(t, "stuck", 2).Status; s.Disruptions != 1 || s.Failures != 0 {
		t.Errorf("disruptions %d, failures %d: want 1, 0", s.Disruptions, s.Failures)
	}
	if isGone(dead) {
		t.Error("the pod on the dead node is gone: this test shows nothing")
	}
}

// A trainer that stands still is replaced while it is still there, and so are those that wait for it. When it wakes up,
// it finds itself fenced.
func TestAHungPodIsReplaced(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]string{"hung": steady, "hung-pods": steadyInTwoPods} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin(t, name, spec+"\nretry: {maxFailures: 2, backoffSeconds: 0}\nprogressDeadlineSeconds: 10")
			waitForState(t, name, v1.StateRunning, 2*time.Minute)
			pod := podOf(t, name, 1)
			signalTrainer(t, pod, syscall.SIGSTOP)
			wakeUp := func() { signalTrainer(t, pod, syscall.SIGCONT) }
			t.Cleanup(func() {
				if t.Failed() {
					wakeUp()
				}
			})
			waitForEvent(t, name, "ProgressDeadlineExceeded", "no optimiser step within spec.progressDeadlineSeconds of 10")
			job := waitForAttempt(t, name, 2)
			checkCounts(t, job, 1, 0)
			if isGone(pod) || pod.DeletionTimestamp.IsZero() {
				t.Error("the hung pod shall be there, and told to stop")
			}

			wakeUp()
			waitUntilGone(t, pod)
			if owner := latest(t, job).Attempt; owner != 2 {
				t.Errorf("attempt %d owns the bucket, want 2: the one that woke up is not fenced", owner)
			}
		})
	}
}

// latest is latest.json of a job.
func latest(t *testing.T, job *v1.ResNetTrainingJob) (pointer struct{ Attempt int32 }) {
	t.Helper()
	if err := json.Unmarshal(object(t, job, contract.LatestKey), &pointer); err != nil {
		t.Fatal(err)
	}
	return pointer
}

// bind plays the scheduler.
func bind(t *testing.T, pod *corev1.Pod, node string) {
	t.Helper()
	binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: node}}
	if err := kube.SubResource("binding").Create(t.Context(), pod, binding); err != nil {
		t.Fatal(err)
	}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
		t.Fatal(err)
	}
}

// realNode is the name of a node that runs pods.
func realNode(t *testing.T) string {
	t.Helper()
	var nodes corev1.NodeList
	if err := kube.List(t.Context(), &nodes); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		if slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			return n.Name
		}
	}
	t.Fatal("no node is ready")
	return ""
}
