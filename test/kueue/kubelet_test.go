package kueue

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

func ready(url string) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	return fmt.Errorf("%s does not answer", url)
}

// env is one test's namespace and its kubelet.
type env struct {
	t   *testing.T
	ns  string
	ctx context.Context
	Gomega

	mu     sync.Mutex
	finish map[string]bool // jobs whose pods shall end well
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, ctx: t.Context(), Gomega: NewWithT(t), finish: map[string]bool{}}
	e.SetDefaultEventuallyTimeout(patience)
	e.SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}
	e.Expect(kube.Create(e.ctx, ns)).To(Succeed())
	e.ns = ns.Name
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		for ctx.Err() == nil {
			e.kubelet(ctx)
			time.Sleep(100 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); wait.Wait() })
	return e
}

// kubelet takes every pod a step further. Errors are conflicts with the other controllers; the next round repeats.
func (e *env) kubelet(ctx context.Context) {
	var pods corev1.PodList
	if kube.List(ctx, &pods, client.InNamespace(e.ns)) != nil {
		return
	}
	for _, pod := range pods.Items {
		before := pod.DeepCopy()
		switch over := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed; {
		case pod.Spec.NodeName == "":
			node := cmp.Or(pod.Spec.NodeSelector[corev1.LabelHostname], "node")
			_ = kubernetes.NewForConfigOrDie(config).CoreV1().Pods(e.ns).Bind(ctx,
				&corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: e.ns}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{})
			continue
		case over && pod.DeletionTimestamp != nil:
			_ = kube.Delete(ctx, &pod, client.GracePeriodSeconds(0))
			continue
		case over:
			continue
		case pod.DeletionTimestamp != nil: // SIGTERM: it saves and ends
			end(&pod.Status, corev1.PodFailed, contract.Termination{ExitCode: contract.ExitStopped, Progress: progress(&pod)})
		case pod.Status.Phase == corev1.PodPending:
			now := metav1.Now()
			pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &now
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now}}
		case e.shallFinish(pod.Labels[childjob.LabelJobName]):
			end(&pod.Status, corev1.PodSucceeded, contract.Termination{Progress: progress(&pod)})
		default:
			continue
		}
		_ = kube.Status().Patch(ctx, &pod, client.MergeFrom(before))
	}
}

// progress is what a trainer says that has saved its seventh epoch.
func progress(pod *corev1.Pod) *contract.Progress {
	var attempt int32
	_, _ = fmt.Sscan(pod.Labels[childjob.LabelAttempt], &attempt)
	name := contract.CheckpointName(7, 700, attempt)
	prefix := contract.JobPrefix(pod.Namespace, pod.Labels[childjob.LabelJobName], jobUID(pod))
	return &contract.Progress{
		Attempt: attempt, Phase: contract.PhaseTraining, Epoch: 7, Epochs: 20, Step: 700, Steps: 2000, Loss: ptr.To(0.5), FirstStepTime: ptr.To(time.Now()),
		Checkpoint: &contract.Checkpoint{Name: name, Time: time.Now(), URI: "s3://models/" + prefix + "/" + contract.CheckpointsPrefix + "/" + name},
	}
}

func jobUID(pod *corev1.Pod) string {
	var job v1.ResNetTrainingJob
	_ = kube.Get(context.Background(), types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[childjob.LabelJobName]}, &job)
	return string(job.UID)
}

func end(s *corev1.PodStatus, phase corev1.PodPhase, word contract.Termination) {
	s.Phase, s.Conditions = phase, nil
	s.ContainerStatuses = []corev1.ContainerStatus{{Name: "trainer", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(word.ExitCode), Message: string(word.Marshal())},
	}}}
}

func (e *env) shallFinish(job string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.finish[job]
}

// letFinish lets the pods of a job end well.
func (e *env) letFinish(job string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finish[job] = true
}

// apply creates an object of Kueue.
func (e *env) apply(text string) {
	e.t.Helper()
	o := &unstructured.Unstructured{}
	e.Expect(yaml.Unmarshal([]byte(text), &o.Object)).To(Succeed())
	e.Eventually(func() error { return kube.Create(e.ctx, o.DeepCopy()) }).Should(Succeed(), "%s %s", o.GetKind(), o.GetName())
	e.t.Cleanup(func() { _ = kube.Delete(context.Background(), o) })
}

func (e *env) job(name string) *v1.ResNetTrainingJob {
	e.t.Helper()
	job := &v1.ResNetTrainingJob{}
	e.Expect(kube.Get(e.ctx, types.NamespacedName{Namespace: e.ns, Name: name}, job)).To(Succeed())
	return job
}

func (e *env) eventually(name string, want v1.State) *v1.ResNetTrainingJob {
	e.t.Helper()
	e.Eventually(func() v1.State { return e.job(name).Status.State }).Should(Equal(want), "state of %s", name)
	return e.job(name)
}
