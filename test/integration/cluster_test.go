package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// env is one test's namespace and the parts that the test plays.
type env struct {
	t   *testing.T
	ns  string
	ctx context.Context
	Gomega
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, ctx: t.Context(), Gomega: NewWithT(t)}
	e.SetDefaultEventuallyTimeout(10 * time.Second)
	e.SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	e.Expect(kube.Create(e.ctx, ns)).To(Succeed())
	e.ns = ns.Name
	return e
}

// jobYAML is a job as a user writes it; extra lines go below spec.
const jobYAML = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: net}
spec:
  dataset: {format: Synthetic}
  storage: {uri: s3://models}
`

func parse(t *testing.T, text string) *v1.ResNetTrainingJob {
	t.Helper()
	job := &v1.ResNetTrainingJob{}
	if err := yaml.UnmarshalStrict([]byte(text), job); err != nil {
		t.Fatal(err)
	}
	return job
}

func (e *env) createJob(text string) *v1.ResNetTrainingJob {
	e.t.Helper()
	job := parse(e.t, text)
	job.Namespace = e.ns
	e.Expect(kube.Create(e.ctx, job)).To(Succeed())
	return job
}

func (e *env) job() *v1.ResNetTrainingJob {
	e.t.Helper()
	job := &v1.ResNetTrainingJob{}
	e.Expect(kube.Get(e.ctx, types.NamespacedName{Namespace: e.ns, Name: "net"}, job)).To(Succeed())
	return job
}

// folder is where the job's trainer writes, with a slash at its end.
func (e *env) folder() string {
	e.t.Helper()
	job := e.job()
	return job.Spec.Storage.URI + "/" + contract.JobPrefix(job.Namespace, job.Name, string(job.UID)) + "/"
}

func (e *env) eventuallyState(want v1.State) *v1.ResNetTrainingJob {
	e.t.Helper()
	e.Eventually(func() v1.State { return e.job().Status.State }).Should(Equal(want), "state")
	return e.job()
}

func (e *env) child(name string) *batchv1.Job {
	e.t.Helper()
	child := &batchv1.Job{}
	e.Eventually(func() error { return kube.Get(e.ctx, types.NamespacedName{Namespace: e.ns, Name: name}, child) }).Should(Succeed(), "child %s", name)
	return child
}

func (e *env) children() []batchv1.Job {
	e.t.Helper()
	var list batchv1.JobList
	e.Expect(kube.List(e.ctx, &list, client.InNamespace(e.ns))).To(Succeed())
	return list.Items
}

// createPod plays the Job controller.
func (e *env) createPod(child *batchv1.Job) *corev1.Pod {
	e.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: e.ns, Name: child.Name + "-0-x", Labels: child.Spec.Template.Labels, Annotations: child.Spec.Template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(child, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: child.Spec.Template.Spec,
	}
	e.Expect(kube.Create(e.ctx, pod)).To(Succeed())
	return pod
}

// podStatus plays the kubelet.
func (e *env) podStatus(pod *corev1.Pod, change func(*corev1.PodStatus)) {
	e.t.Helper()
	before := pod.DeepCopy()
	change(&pod.Status)
	e.Expect(kube.Status().Patch(e.ctx, pod, client.MergeFrom(before))).To(Succeed())
}

// prepared says whether the node of a pod, which it has just got, has prepared its volumes and network.
func prepared(status corev1.ConditionStatus) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Conditions = []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
			{Type: corev1.PodReadyToStartContainers, Status: status, LastTransitionTime: metav1.Now()},
		}
	}
}

// mountFails plays the kubelet that cannot mount a volume.
func (e *env) mountFails(pod *corev1.Pod, event, message string, at time.Time) {
	e.t.Helper()
	e.Expect(kube.Create(e.ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: e.ns, Name: event},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: e.ns, Name: pod.Name, UID: pod.UID},
		Type:           corev1.EventTypeWarning, Reason: "FailedMount", Message: message, LastTimestamp: metav1.NewTime(at),
	})).To(Succeed())
}

func ready(ip string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase, s.PodIP, s.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
		s.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	}
}

func ended(phase corev1.PodPhase, word contract.Termination) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase = phase
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: "trainer", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(word.ExitCode), Message: string(word.Marshal())},
		}}}
	}
}

// complete plays the Job controller at the end of a successful Job.
func (e *env) complete(child *batchv1.Job) {
	e.t.Helper()
	t := metav1.Now()
	child.Status = batchv1.JobStatus{StartTime: &t, CompletionTime: &t, Succeeded: 1, Active: 0,
		Ready: ptr.To[int32](0), UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{}, CompletedIndexes: "0",
		Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue, LastTransitionTime: t, Reason: "CompletionsReached"},
			{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: t, Reason: "CompletionsReached"},
		}}
	e.Expect(kube.Status().Update(e.ctx, child)).To(Succeed())
}

// story is what kubectl describe tells: the reasons of the events about the job, in their order.
func (e *env) story() string {
	e.t.Helper()
	var list eventsv1.EventList
	e.Expect(kube.List(e.ctx, &list, client.InNamespace(e.ns))).To(Succeed())
	told := slices.DeleteFunc(list.Items, func(ev eventsv1.Event) bool { return ev.Regarding.Kind != v1.Kind })
	slices.SortFunc(told, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	var reasons []string
	for _, ev := range told {
		reasons = append(reasons, ev.Reason)
		if ev.Series != nil {
			reasons = append(reasons, "repeated")
		}
	}
	return strings.Join(reasons, " ")
}

func messageOf(job *v1.ResNetTrainingJob, condition string) string {
	if c := meta.FindStatusCondition(job.Status.Conditions, condition); c != nil {
		return c.Message
	}
	return ""
}

func names(list client.ObjectList) (names []string) {
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		names = append(names, fmt.Sprintf("%T %s", o, o.(client.Object).GetName()))
		return nil
	})
	return names
}

func reasonOf(job *v1.ResNetTrainingJob, condition string) string {
	if c := meta.FindStatusCondition(job.Status.Conditions, condition); c != nil {
		return c.Reason
	}
	return ""
}
