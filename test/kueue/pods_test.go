package kueue

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

func inThreePods(job *v1.ResNetTrainingJob) {
	job.Spec.Distributed, job.Spec.Training.BatchSize = &v1.DistributedSpec{Pods: 3}, 12
}

// Three pods get quota together, or none of them does, whatever the job asks of Kueue. Until then no clock runs.
func TestAllPodsAreAdmittedOrNone(t *testing.T) {
	e := newEnv(t)
	e.queueFor(2, "{}")
	e.createJob("gang", "", inThreePods, func(job *v1.ResNetTrainingJob) {
		job.Annotations = map[string]string{"kueue.x-k8s.io/job-min-parallelism": "1"}
		job.Spec.StartDeadlineSeconds = ptr.To[int32](10)
	})
	e.eventually("gang", v1.StateQueued)
	e.Consistently(func() v1.State { return e.job("gang").Status.State }, 12*time.Second).Should(Equal(v1.StateQueued))
	waiting := e.job("gang")
	e.Expect(progressing(waiting).Message).To(Equal("waits for quota"))
	e.Expect(waiting.Status.ActiveStartTime).To(BeNil())
	e.Expect(e.podsOf("gang")).To(BeEmpty())
	e.Expect(e.child("gang-1").Annotations).NotTo(HaveKey("kueue.x-k8s.io/job-min-parallelism"))

	e.setQuota(3)
	e.Expect(e.eventually("gang", v1.StateRunning).Status.Attempt).To(Equal(int32(1)))
	e.Expect(e.podsOf("gang")).To(HaveLen(3))
	e.letFinish("gang")
	e.eventually("gang", v1.StateSucceeded)
}

// A job of higher priority that needs one pod takes the quota of all three, which stop, and later go on together.
func TestPreemptionStopsAllPods(t *testing.T) {
	e := newEnv(t)
	e.queueFor(3, "{}")
	e.priorities()
	e.createJob("gang", "low", inThreePods)
	e.eventually("gang", v1.StateRunning)

	e.createJob("urgent", "high")
	e.eventually("urgent", v1.StateRunning)
	e.Eventually(func() int32 { return e.job("gang").Status.Attempt }).Should(Equal(int32(2)))
	gang := e.eventually("gang", v1.StateQueued)
	e.Expect(gang.Status.Failures).To(BeZero())
	e.Expect(gang.Status.Disruptions).To(Equal(int32(1)))
	e.Expect(gang.Status.Checkpoint.Name).To(Equal("00007-00000700-a1"))
	e.Eventually(func() string { return e.eventOf("gang", v1.ReasonDisrupted) }).
		Should(ContainSubstring("a queueing system took its quota back"))
	e.Eventually(func() []corev1.Pod { return e.podsOf("gang") }).Should(BeEmpty())
	e.Consistently(func() []corev1.Pod { return e.podsOf("gang") }, time.Second).Should(BeEmpty(), "there is quota for two")

	e.letFinish("urgent")
	e.eventually("urgent", v1.StateSucceeded)
	e.eventually("gang", v1.StateRunning)
	e.Expect(e.podsOf("gang")).To(HaveLen(3))
	e.letFinish("gang")
	e.Expect(e.eventually("gang", v1.StateSucceeded).Status.Attempt).To(Equal(int32(2)))
}

// Kueue chooses nodes near each other as the annotations of spec.template ask, and a plugin of the scheduler finds the
// labels of its group.
func TestTheTopologyOfAllPods(t *testing.T) {
	const rack = "example.com/rack"
	e := newEnv(t)
	for name, nodes := range map[string]int{"small": 2, "large": 3} {
		for n := range nodes {
			e.createNode(fmt.Sprintf("%s-%s-%d", e.ns, name, n), map[string]string{"team": e.ns, rack: name})
		}
	}
	e.apply(`{apiVersion: kueue.x-k8s.io/v1beta2, kind: Topology, metadata: {name: ` + e.ns + `},
		spec: {levels: [{nodeLabel: ` + rack + `}, {nodeLabel: kubernetes.io/hostname}]}}`)
	e.queueFor(5, fmt.Sprintf("{nodeLabels: {team: %[1]s}, topologyName: %[1]s}", e.ns))
	group := map[string]v1.LabelValue{"scheduling.x-k8s.io/pod-group": "gang"}
	e.createJob("gang", "", inThreePods, func(job *v1.ResNetTrainingJob) {
		job.Spec.Template = &v1.PodTemplate{
			Labels:      group,
			Annotations: map[string]v1.AnnotationValue{"kueue.x-k8s.io/podset-required-topology": rack},
		}
	})
	e.eventually("gang", v1.StateRunning)
	nodes := map[string]bool{}
	pods := e.podsOf("gang")
	for _, pod := range pods {
		nodes[pod.Spec.NodeName] = true
		e.Expect(pod.Spec.NodeName).To(HavePrefix(e.ns + "-large-"))
		e.Expect(pod.Labels).To(HaveKeyWithValue("scheduling.x-k8s.io/pod-group", "gang"))
	}
	e.Expect(pods).To(HaveLen(3))
	e.Expect(nodes).To(HaveLen(3), "a node has room for one")
	e.letFinish("gang")
	e.eventually("gang", v1.StateSucceeded)
}

func (e *env) podsOf(job string) []corev1.Pod {
	e.t.Helper()
	var pods corev1.PodList
	ours := client.MatchingLabels{childjob.LabelJobName: job}
	e.Expect(kube.List(e.ctx, &pods, client.InNamespace(e.ns), ours)).To(Succeed())
	return pods.Items
}

// setQuota of the queue, in pods.
func (e *env) setQuota(pods int) {
	e.t.Helper()
	queue := &unstructured.Unstructured{}
	queue.SetGroupVersionKind(schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: "ClusterQueue"})
	queue.SetName(e.ns)
	const path = "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota"
	patch := fmt.Appendf(nil, `[{"op": "replace", "path": %q, "value": %d}]`, path, 2*pods)
	e.Expect(kube.Patch(e.ctx, queue, client.RawPatch(types.JSONPatchType, patch))).To(Succeed())
}

// createNode with room for one pod.
func (e *env) createNode(name string, labels map[string]string) {
	e.t.Helper()
	labels[corev1.LabelHostname] = name
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	e.Expect(kube.Create(e.ctx, node)).To(Succeed())
	e.t.Cleanup(func() { _ = kube.Delete(context.Background(), node) })
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("16Gi"),
		corev1.ResourcePods: resource.MustParse("10"),
	}
	ready := []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	node.Status = corev1.NodeStatus{Capacity: room, Allocatable: room, Conditions: ready}
	e.Expect(kube.Status().Update(e.ctx, node)).To(Succeed())
}

// eventOf a job with that reason; "" if there is none.
func (e *env) eventOf(job, reason string) string {
	e.t.Helper()
	var events corev1.EventList
	e.Expect(kube.List(e.ctx, &events, client.InNamespace(e.ns))).To(Succeed())
	for _, event := range events.Items {
		if event.InvolvedObject.Name == job && event.Reason == reason {
			return event.Message
		}
	}
	return ""
}
