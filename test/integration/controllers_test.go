package integration

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// TestWithRealControllers runs what needs Kubernetes' own Job controller and garbage collector. They work for all
// namespaces, so nothing else may run beside.
func TestWithRealControllers(t *testing.T) {
	startControllers(t)
	count, _ := newEnv(t).startManager() // one for all
	for name, test := range map[string]func(*testing.T){
		"a pod that is evicted":       evictedPod,
		"a Job that is deleted":       deletedChild,
		"a pod that just starts":      func(t *testing.T) { healthyStart(t, count) },
		"a quota refuses the pod":     func(t *testing.T) { quotaOnPods(t, count) },
		"a quota refuses the Job":     quotaOnJobs,
		"suspend and resume":          suspendWithPod,
		"deletion at any moment":      deletion,
		"time to live":                timeToLive,
		"active deadline":             activeDeadline,
		"kubectl get keeps up":        func(t *testing.T) { progressMoves(t, count) },
		"within an epoch too":         func(t *testing.T) { lossMoves(t, count) },
		"a node that died":            deadNode,
		"a pod that hangs":            hungPod,
		"restricted pod security":     restrictedPods,
		"a namespace that is leaving": leavingNamespace,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t) })
	}
}

// startControllers runs kube-controller-manager until the test ends.
func startControllers(t *testing.T) {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, server.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-controller-manager"), "--kubeconfig="+kubeconfig,
		"--controllers=job-controller,garbage-collector-controller,resourcequota-controller", "--leader-elect=false", "--secure-port=0")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			_, _ = log.Seek(0, io.SeekStart)
			text, _ := io.ReadAll(log)
			t.Logf("the end of kube-controller-manager's log:\n%s", text[max(0, len(text)-4096):])
		}
	})
}

// realPod waits for the pod that the Job controller makes for an attempt.
func (e *env) realPod(attempt string) *corev1.Pod {
	e.t.Helper()
	var pods corev1.PodList
	e.Eventually(func() int {
		e.Expect(kube.List(e.ctx, &pods, client.InNamespace(e.ns), client.MatchingLabels{"training.resnet-operator.dev/attempt": attempt})).To(Succeed())
		return len(pods.Items)
	}).Should(Equal(1), "pod of attempt %s", attempt)
	return &pods.Items[0]
}

// bind plays the scheduler: a pod on a node gets its grace when it is deleted.
func (e *env) bind(pod *corev1.Pod) {
	e.t.Helper()
	e.Expect(kube.SubResource("binding").Create(e.ctx, pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}})).To(Succeed())
	e.Expect(kube.Get(e.ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
}

// stop plays the kubelet that ended a pod which is being deleted.
func (e *env) stop(pod *corev1.Pod, word contract.Termination) {
	e.t.Helper()
	e.podStatus(pod, ended(corev1.PodFailed, word))
	e.Expect(client.IgnoreNotFound(kube.Delete(e.ctx, pod, client.GracePeriodSeconds(0)))).To(Succeed())
}

// isToldToStop waits for the garbage collector, which stops the pods of a Job that is being deleted.
func (e *env) isToldToStop(pod *corev1.Pod) {
	e.t.Helper()
	e.Eventually(func() *metav1.Time {
		e.Expect(kube.Get(e.ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
		return pod.DeletionTimestamp
	}).ShouldNot(BeNil(), "pod %s is told to stop", pod.Name)
}

func evictedPod(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML)
	pod := e.runningPod()
	e.Expect(kube.Delete(e.ctx, pod)).To(Succeed())
	e.stop(pod, contract.Termination{ExitCode: 75})

	e.Eventually(func() int32 { return e.job().Status.Attempt }).WithTimeout(20*time.Second).Should(Equal(int32(2)), "attempts begin ten seconds apart at least")
	e.realPod("2")
	got := e.job()
	e.Expect(got.Status.Disruptions).To(Equal(int32(1)))
	e.Expect(got.Status.Failures).To(BeZero())
}

// deletedChild: kubectl deletes a Job at once, and its pods after that.
func deletedChild(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML)
	pod := e.runningPod()
	e.kubectl("delete", "job", "net-1")
	e.isToldToStop(pod)
	e.Consistently(func() int32 { return e.job().Status.Attempt }).WithTimeout(12*time.Second).Should(Equal(int32(1)), "while the pod saves a checkpoint")
	e.stop(pod, contract.Termination{ExitCode: 75})
	e.realPod("2")
	got := e.job()
	e.Expect(got.Status.Disruptions).To(Equal(int32(1)))
	e.Expect(got.Status.Failures).To(BeZero())
}

// runningPod brings the pod of the first attempt, and with it the job, to Running.
func (e *env) runningPod() *corev1.Pod {
	e.t.Helper()
	pod := e.realPod("1")
	e.bind(pod)
	e.podStatus(pod, ready("127.0.0.1"))
	e.eventuallyState(v1.StateRunning)
	return pod
}

// deadNode: there is no kubelet, so a pod that is deleted never ends.
func deadNode(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML)
	pod := e.realPod("1")
	e.bind(pod)
	e.podStatus(pod, ready("127.0.0.1"))
	e.Expect(kube.Delete(e.ctx, pod, client.GracePeriodSeconds(1))).To(Succeed())
	e.Eventually(func() int32 { return e.job().Status.Attempt }).WithTimeout(20*time.Second).Should(Equal(int32(2)), "attempts begin ten seconds apart at least")
	e.realPod("2")
	e.Expect(kube.Get(e.ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed(), "the old pod is still there")
	e.Expect(e.job().Status.Disruptions).To(Equal(int32(1)))
}

func hungPod(t *testing.T) {
	e := newEnv(t)
	tr := serveProgress(t, contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epochs: 20, Step: 7, FirstStepTime: ptr.To(time.Now())})
	e.createJob(jobYAML + "  progressDeadlineSeconds: 10\n  retry: {backoffSeconds: 0}\n")
	pod := e.realPod("1")
	e.bind(pod)
	e.podStatus(pod, ready(tr.ip))
	e.eventuallyState(v1.StateRunning)
	e.SetDefaultEventuallyTimeout(20 * time.Second)
	e.realPod("2")
	e.isToldToStop(pod)
	e.Eventually(e.story).Should(Equal("ProgressDeadlineExceeded AttemptCreated"))
	e.Expect(e.job().Status.Failures).To(Equal(int32(1)))
}

// healthyStart: events are read of what is stuck, and this is not, whatever the Job controller says in which order.
func healthyStart(t *testing.T, count *requests) {
	e := newEnv(t)
	e.createJob(jobYAML)
	pod := e.realPod("1")
	time.Sleep(3 * time.Second) // the scheduler looks for a node
	e.bind(pod)
	e.podStatus(pod, prepared(corev1.ConditionFalse))
	e.podStatus(pod, prepared(corev1.ConditionTrue))
	time.Sleep(3 * time.Second) // the kubelet pulls the image
	e.podStatus(pod, ready("127.0.0.1"))
	e.eventuallyState(v1.StateRunning)
	e.Expect(count.eventLists(e.ns)).To(BeZero(), "lists of events")
}

func quotaOnPods(t *testing.T, count *requests) {
	e := newEnv(t)
	e.quota(corev1.ResourceLimitsCPU, "1")
	e.createJob(jobYAML)
	got := e.eventuallyState(v1.StatePending)
	e.Expect(reasonOf(got, v1.ConditionProgressing)).To(Equal("PodRefused"))
	e.Expect(messageOf(got, v1.ConditionProgressing)).To(Equal("the pod cannot be created: exceeded quota: team, requested: limits.cpu=2, used: limits.cpu=0, limited: limits.cpu=1"))
	e.Expect(count.eventLists(e.ns)).To(BeNumerically("~", 2, 1), "lists of events")

	// Asking for less helps at once.
	e.patch(func(job *v1.ResNetTrainingJob) { job.Spec.Resources.CPU = ptr.To(resource.MustParse("500m")) })
	e.realPod("2")
	got = e.eventuallyState(v1.StateStarting)
	e.Expect(got.Status.Failures + got.Status.Disruptions).To(BeZero())
}

func quotaOnJobs(t *testing.T) {
	e := newEnv(t)
	e.quota("count/jobs.batch", "0")
	e.SetDefaultEventuallyTimeout(40 * time.Second)
	e.createJob(jobYAML + "  startDeadlineSeconds: 20\n")
	e.Eventually(func() string { return messageOf(e.job(), v1.ConditionProgressing) }).Should(Equal(
		`create Job net-1: jobs.batch "net-1" is forbidden: exceeded quota: team, requested: count/jobs.batch=1, used: count/jobs.batch=0, limited: count/jobs.batch=0`))
	e.Expect(e.job().Status.State).To(Equal(v1.StatePending))
	got := e.eventuallyState(v1.StateFailed)
	e.Expect(reasonOf(got, v1.ConditionFailed)).To(Equal("StartDeadlineExceeded"))
	e.Expect(messageOf(got, v1.ConditionFailed)).To(HavePrefix("no pod ran within spec.startDeadlineSeconds of 20: create Job net-1: "))
	e.Expect(got.Status.Attempt).To(BeZero())
}

func suspendWithPod(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML)
	pod := e.runningPod()
	e.setSuspend(true)
	e.isToldToStop(pod)
	e.Expect(e.job().Status.State).To(Equal(v1.StateRunning), "and may take its time")
	name := "00003-00000042-a1"
	e.stop(pod, contract.Termination{ExitCode: 75, Progress: &contract.Progress{Attempt: 1, Phase: contract.PhaseSaving, Epoch: 3, Epochs: 20, Step: 42,
		Checkpoint: &contract.Checkpoint{Name: name, URI: e.folder() + name, Time: time.Now()}}})
	got := e.eventuallyState(v1.StateSuspended)
	e.Expect(got.Status.ActiveStartTime).To(BeNil(), "the clock stands")

	e.setSuspend(false)
	e.realPod("2")
	got = e.eventuallyState(v1.StateStarting)
	e.Expect(got.Status.Failures + got.Status.Disruptions).To(BeZero())
	e.Eventually(e.story).Should(Equal("Suspending Suspended AttemptCreated"))
}

func deletion(t *testing.T) {
	for name, until := range map[string]func(*env){
		"at once":         func(*env) {},
		"with a pod":      func(e *env) { e.realPod("1") },
		"while it trains": func(e *env) { e.podStatus(e.realPod("1"), ready("127.0.0.1")); e.eventuallyState(v1.StateRunning) },
		"between attempts": func(e *env) {
			e.podStatus(e.realPod("1"), ended(corev1.PodFailed, contract.Termination{ExitCode: 1}))
			e.eventuallyState(v1.StateRestarting)
		},
		"at the end": func(e *env) {
			e.podStatus(e.realPod("1"), ended(corev1.PodSucceeded, contract.Termination{}))
			e.eventuallyState(v1.StateSucceeded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.createJob(jobYAML)
			until(e)
			e.kubectl("delete", "resnetjob", "net", "--wait=false")
			e.nothingIsLeft()
		})
	}
}

func timeToLive(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML + "  ttlSecondsAfterFinished: 1\n")
	e.podStatus(e.realPod("1"), ended(corev1.PodSucceeded, contract.Termination{}))
	e.nothingIsLeft()
	e.Expect(e.story()).To(Equal("Succeeded"))
}

func activeDeadline(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML + "  activeDeadlineSeconds: 2\n")
	pod := e.realPod("1")
	e.bind(pod)
	e.podStatus(pod, ready("127.0.0.1"))
	got := e.eventuallyState(v1.StateFailed)
	e.Expect(reasonOf(got, v1.ConditionFailed)).To(Equal("ActiveDeadlineExceeded"))
	e.isToldToStop(pod)
	e.Expect(*pod.DeletionGracePeriodSeconds).To(BeNumerically(">=", 60), "and has time to save")
	e.stop(pod, contract.Termination{ExitCode: 75})
	e.Consistently(func() int { return len(e.children()) }, time.Second).Should(BeNumerically("<=", 1), "no further attempt")
}

// What the pod says is in kubectl get within the 10 s of which each holds one write at most.
func progressMoves(t *testing.T, count *requests) {
	e := newEnv(t)
	tr := serveProgress(t, contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epochs: 20, Step: 1, Loss: ptr.To(2.0), FirstStepTime: ptr.To(time.Now())})
	e.createJob(jobYAML)
	e.podStatus(e.realPod("1"), ready(tr.ip))
	table := func() string { return e.kubectl("get", "resnetjobs", "--no-headers") }
	e.Eventually(table).Should(MatchRegexp(`^net +Running +0/20 +2.0000 `))
	before := count.of(e.ns)
	for i := range 10 { // a new loss every tenth of a second
		tr.says(func(p *contract.Progress) { p.Step++; *p.Loss = 1 - float64(i)/100 })
		time.Sleep(100 * time.Millisecond)
	}
	tr.says(func(p *contract.Progress) { p.Step, p.Epoch, *p.Loss, p.Accuracy = 400, 1, 0.5, ptr.To(0.8) })
	e.Eventually(table).WithTimeout(12 * time.Second).Should(MatchRegexp(`^net +Running +1/20 +0.5000 +80.00% `))
	if n := count.of(e.ns) - before; n > 2 {
		t.Errorf("%d writes of progress within 12 s, want at most 2", n)
	}
}

// Who watches a long epoch sees its loss and the time left move, by one write in 10 s.
func lossMoves(t *testing.T, count *requests) {
	e := newEnv(t)
	tr := serveProgress(t, contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epoch: 3, Epochs: 20, Step: 9, Loss: ptr.To(2.0),
		ETASeconds: 3600, FirstStepTime: ptr.To(time.Now())})
	e.createJob(jobYAML)
	e.podStatus(e.realPod("1"), ready(tr.ip))
	table := func() string { return e.kubectl("get", "resnetjobs", "--no-headers") }
	e.Eventually(table).Should(MatchRegexp(`^net +Running +3/20 +2.0000 .* 1h0m0s `))
	before := count.of(e.ns)
	tr.says(func(p *contract.Progress) { p.Step, *p.Loss, p.ETASeconds = 400, 1.5, 1800 })
	time.Sleep(3 * time.Second) // it is asked every 2 s
	tr.says(func(p *contract.Progress) { *p.Loss = 1.25 })
	time.Sleep(3 * time.Second)
	e.Expect(count.of(e.ns)).To(Equal(before), "not before it is due")
	e.Eventually(func() string { // a new loss at each look
		tr.says(func(p *contract.Progress) { p.Step++; *p.Loss -= 0.001 })
		return table()
	}).WithTimeout(10 * time.Second).WithPolling(time.Second).Should(MatchRegexp(`^net +Running +3/20 +1.2... .* 30m0s `))
	if n := count.of(e.ns) - before; n != 1 {
		t.Errorf("%d writes of a loss within 12 s, want 1", n)
	}
}

// leavingNamespace: nothing can be created in it any more, which is no reason to try forever.
func leavingNamespace(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML + "  suspend: true\n")
	e.eventuallyState(v1.StateSuspended)
	e.Expect(kube.Delete(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.ns}})).To(Succeed())
	e.setSuspend(false)
	e.Eventually(func() string { return reasonOf(e.job(), v1.ConditionProgressing) }).Should(Equal("PodRefused"))
	e.Expect(messageOf(e.job(), v1.ConditionProgressing)).To(ContainSubstring("is being terminated"))
}

// quota limits a resource in the namespace, from when it returns: until its controller has counted what is used, the API server
// keeps everything that it may limit waiting for ten seconds, and a deadline may pass.
func (e *env) quota(of corev1.ResourceName, hard string) {
	e.t.Helper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "team"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{of: resource.MustParse(hard)}}}
	e.Expect(kube.Create(e.ctx, q)).To(Succeed())
	e.Eventually(func() corev1.ResourceList {
		e.Expect(kube.Get(e.ctx, client.ObjectKeyFromObject(q), q)).To(Succeed())
		return q.Status.Used
	}).WithTimeout(time.Minute).Should(HaveKey(of))
}

// nothingIsLeft of the job, its Jobs and its pods. The pods are on no node, so they go at once.
func (e *env) nothingIsLeft() {
	e.t.Helper()
	e.Eventually(func() string {
		var left []string
		for _, list := range []client.ObjectList{&v1.ResNetTrainingJobList{}, &batchv1.JobList{}, &corev1.PodList{}} {
			e.Expect(kube.List(e.ctx, list, client.InNamespace(e.ns))).To(Succeed())
			left = append(left, names(list)...)
		}
		return strings.Join(left, " ")
	}).WithTimeout(30 * time.Second).Should(BeEmpty())
}
