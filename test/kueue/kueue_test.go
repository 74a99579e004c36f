package kueue

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// queueForOne makes a queue with quota for one pod.
func (e *env) queueForOne() {
	e.t.Helper()
	e.queueFor(1, "{nodeLabels: {tier: spot}}")
}

// queueFor makes a queue with quota for so many pods, of two processors each, on the nodes of a flavor.
func (e *env) queueFor(pods int, flavor string) {
	e.t.Helper()
	e.apply(`{apiVersion: kueue.x-k8s.io/v1beta2, kind: ResourceFlavor, metadata: {name: ` + e.ns + `}, spec: ` + flavor + `}`)
	e.apply(fmt.Sprintf(`
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: %[1]s}
spec:
  namespaceSelector: {}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
  - coveredResources: [cpu, memory]
    flavors: [{name: %[1]s, resources: [{name: cpu, nominalQuota: %[2]d}, {name: memory, nominalQuota: 64Gi}]}]
`, e.ns, 2*pods))
	e.apply(fmt.Sprintf(`{apiVersion: kueue.x-k8s.io/v1beta2, kind: LocalQueue, metadata: {name: team, namespace: %[1]s}, spec: {clusterQueue: %[1]s}}`, e.ns))
}

// priorities makes the classes low and high.
func (e *env) priorities() {
	e.t.Helper()
	for class, value := range map[string]int{"low": 10, "high": 1000} {
		e.apply(fmt.Sprintf(`{apiVersion: kueue.x-k8s.io/v1beta2, kind: WorkloadPriorityClass, metadata: {name: %s}, value: %d, description: test}`, class, value))
	}
}

func (e *env) createJob(name, priority string, changes ...func(*v1.ResNetTrainingJob)) {
	e.t.Helper()
	labels := map[string]string{"kueue.x-k8s.io/queue-name": "team"}
	if priority != "" {
		labels["kueue.x-k8s.io/priority-class"] = priority
	}
	job := &v1.ResNetTrainingJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name, Labels: labels},
		Spec: v1.ResNetTrainingJobSpec{
			Dataset:  v1.DatasetSpec{Format: v1.Synthetic},
			Training: v1.TrainingSpec{Epochs: 20},
			Storage:  v1.StorageSpec{URI: "s3://models"},
		},
	}
	for _, change := range changes {
		change(job)
	}
	e.Expect(kube.Create(e.ctx, job)).To(Succeed())
}

func (e *env) child(name string) *batchv1.Job {
	e.t.Helper()
	child := &batchv1.Job{}
	e.Expect(kube.Get(e.ctx, types.NamespacedName{Namespace: e.ns, Name: name}, child)).To(Succeed())
	return child
}

func TestTheSecondJobWaitsForQuota(t *testing.T) {
	e := newEnv(t)
	e.queueForOne()
	e.createJob("first", "")
	e.eventually("first", v1.StateRunning)
	e.createJob("second", "")
	e.eventually("second", v1.StateQueued)

	// What Kueue wrote into the child stays: the label of its flavor, and suspend.
	child := e.child("first-1")
	e.Expect(child.Spec.Template.Spec.NodeSelector).To(Equal(map[string]string{"tier": "spot"}))
	e.Expect(child.Spec.Suspend).To(Equal(ptr.To(false)))
	e.Expect(e.child("second-1").Spec.Suspend).To(Equal(ptr.To(true)))
	e.Consistently(func() v1.State { return e.job("second").Status.State }, time.Second).Should(Equal(v1.StateQueued))

	e.letFinish("first")
	e.eventually("first", v1.StateSucceeded)
	second := e.eventually("second", v1.StateRunning)
	e.Expect(second.Status.Attempt).To(Equal(int32(1)))
	e.letFinish("second")
	e.eventually("second", v1.StateSucceeded)
}

func TestAPreemptedJobGoesOnFromItsCheckpoint(t *testing.T) {
	e := newEnv(t)
	e.queueForOne()
	e.priorities()
	e.createJob("cheap", "low")
	e.eventually("cheap", v1.StateRunning)

	e.createJob("urgent", "high")
	e.eventually("urgent", v1.StateRunning)
	e.Eventually(func() int32 { return e.job("cheap").Status.Attempt }).Should(Equal(int32(2)), "the attempt that lost its quota is over")
	cheap := e.eventually("cheap", v1.StateQueued)
	e.Expect(cheap.Status.Failures).To(BeZero())
	e.Expect(cheap.Status.Disruptions).To(Equal(int32(1)))
	e.Expect(cheap.Status.Checkpoint).NotTo(BeNil())
	e.Expect(cheap.Status.Checkpoint.Name).To(Equal("00007-00000700-a1"))
	e.Eventually(func() error {
		return kube.Get(e.ctx, types.NamespacedName{Namespace: e.ns, Name: "cheap-1"}, &batchv1.Job{})
	}).ShouldNot(Succeed(), "the old child does not get in line again")

	e.letFinish("urgent")
	e.eventually("urgent", v1.StateSucceeded)
	e.eventually("cheap", v1.StateRunning)
	e.letFinish("cheap")
	cheap = e.eventually("cheap", v1.StateSucceeded)
	e.Expect(cheap.Status.Attempt).To(Equal(int32(2)))
}

// A job that waits and is suspended by its user leaves the queue, and gets in line again when it is resumed.
func TestASuspendedJobLeavesTheQueue(t *testing.T) {
	e := newEnv(t)
	e.queueForOne()
	e.createJob("first", "")
	e.eventually("first", v1.StateRunning)
	e.createJob("second", "")
	e.eventually("second", v1.StateQueued)
	e.suspend("second", true)
	e.eventually("second", v1.StateSuspended)
	e.letFinish("first")
	e.eventually("first", v1.StateSucceeded)
	e.Consistently(func() v1.State { return e.job("second").Status.State }, time.Second).Should(Equal(v1.StateSuspended))
	e.suspend("second", false)
	e.eventually("second", v1.StateRunning)
}

// A Workload that an administrator deactivates, or that has had its time, stays stopped until it is activated.
func TestADeactivatedWorkloadStaysStopped(t *testing.T) {
	e := newEnv(t)
	e.queueForOne()
	e.createJob("job", "")
	e.eventually("job", v1.StateRunning)
	e.setActive("job-1", false)
	got := e.eventually("job", v1.StateQueued)
	e.Expect(progressing(got).Reason).To(Equal(v1.ReasonDeactivated))
	e.Consistently(func() int32 { return e.job("job").Status.Attempt }, 3*time.Second).Should(Equal(int32(1)))
	e.setActive("job-1", true)
	e.Eventually(func() int32 { return e.job("job").Status.Attempt }).WithTimeout(2*time.Minute).Should(Equal(int32(2)), "it goes on")
	e.eventually("job", v1.StateRunning)
}

func TestAJobThatHasHadItsTimeStaysStopped(t *testing.T) {
	e := newEnv(t)
	e.queueForOne()
	e.createJob("job", "", func(job *v1.ResNetTrainingJob) { job.Labels["kueue.x-k8s.io/max-exec-time-seconds"] = "3" })
	e.Eventually(func() string { return progressing(e.job("job")).Reason }).Should(Equal(v1.ReasonDeactivated))
	e.Consistently(func() int32 { return e.job("job").Status.Attempt }, 3*time.Second).Should(Equal(int32(1)))
}

// setActive is an administrator.
func (e *env) setActive(child string, active bool) {
	e.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: "WorkloadList"})
	e.Expect(kube.List(e.ctx, list, client.InNamespace(e.ns), client.MatchingLabels{"kueue.x-k8s.io/job-uid": string(e.child(child).UID)})).To(Succeed())
	e.Expect(list.Items).To(HaveLen(1))
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"active":%v}}`, active))
	e.Expect(kube.Patch(e.ctx, &list.Items[0], patch)).To(Succeed())
}

// progressing is the condition of that type; empty if there is none.
func progressing(job *v1.ResNetTrainingJob) metav1.Condition {
	if c := meta.FindStatusCondition(job.Status.Conditions, v1.ConditionProgressing); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func (e *env) suspend(name string, suspend bool) {
	e.t.Helper()
	e.Eventually(func() error {
		job := e.job(name)
		job.Spec.Suspend = suspend
		return kube.Update(e.ctx, job)
	}).Should(Succeed())
}
