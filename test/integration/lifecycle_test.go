package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// maxWrites is the budget for a successful job besides progress.
const maxWrites = 4

func TestAJobSucceeds(t *testing.T) {
	e := newEnv(t)
	count, _ := e.startManager()
	tr := serveProgress(t, contract.Progress{
		Attempt: 1, Phase: contract.PhaseTraining, Epoch: 1, Epochs: 20, Step: 10, Steps: 200, Loss: ptr.To(0.5), Accuracy: ptr.To(0.8123), FirstStepTime: ptr.To(time.Now()),
	})
	job := e.createJob(jobYAML)

	child := e.child("net-1")
	e.Expect(metav1.IsControlledBy(child, job)).To(BeTrue())
	checkSecurity(t, child.Spec.Template.Spec)
	e.eventuallyState(v1.StateStarting)

	pod := e.createPod(child)
	e.podStatus(pod, ready(tr.ip))
	e.Eventually(func() *v1.ProgressStatus { return e.job().Status.Progress }).Should(Equal(
		&v1.ProgressStatus{Epoch: 1, Epochs: 20, Step: 10, Steps: 200, Loss: ptr.To(0.5), Accuracy: ptr.To(0.8123)}))
	e.eventuallyState(v1.StateRunning)

	e.podStatus(pod, ended(corev1.PodSucceeded, contract.Termination{
		Progress:  &contract.Progress{Attempt: 1, Phase: contract.PhaseDone, Epoch: 20, Epochs: 20, Step: 20, Accuracy: ptr.To(0.9)},
		Artifacts: &contract.Artifacts{Root: e.folder(), Model: e.folder() + contract.ModelKey},
	}))
	e.complete(child)
	got := e.eventuallyState(v1.StateSucceeded)
	e.Expect(got.Status.Progress.Accuracy).To(HaveValue(Equal(0.9)))
	e.Expect(got.Status.Artifacts.Model).To(Equal(e.folder() + contract.ModelKey))
	e.Expect(reasonOf(got, v1.ConditionComplete)).To(Equal("Succeeded"))
	e.Expect(got.Status.ObservedGeneration).To(Equal(got.Generation))
	e.Eventually(e.story).Should(Equal("Succeeded"))
	e.kubectl("wait", "--for=condition=Complete", "--timeout=5s", "resnetjob/net")
	if n := count.writes.Load(); n > maxWrites+1 {
		t.Errorf("%d writes to the API server, want at most %d and one of progress", n, maxWrites)
	}

	// A finished job never runs again.
	e.Expect(kube.Delete(e.ctx, child, client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
	e.Consistently(func() int { return len(e.children()) }, time.Second).Should(BeZero())
	e.Expect(e.job().ResourceVersion).To(Equal(got.ResourceVersion), "no write after the end")
}

func TestAFailedAttemptIsRepeatedAndAWrongSpecIsNot(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	e.createJob(jobYAML + "  retry: {backoffSeconds: 0}\n")

	pod := e.createPod(e.child("net-1"))
	e.podStatus(pod, ended(corev1.PodFailed, contract.Termination{ExitCode: 69, Message: "s3 is away"}))
	pod = e.createPod(e.child("net-2"))
	got := e.job()
	e.Expect(got.Status.Failures).To(Equal(int32(1)))

	e.podStatus(pod, ended(corev1.PodFailed, contract.Termination{ExitCode: 64, Message: `spec.storage.uri: bucket "models" does not exist`}))
	got = e.eventuallyState(v1.StateFailed)
	e.Expect(got.Status.Attempt).To(Equal(int32(2)))
	e.Expect(got.Status.Failures).To(Equal(int32(2)))
	e.Expect(reasonOf(got, v1.ConditionFailed)).To(Equal("InvalidSpec"))
	e.Consistently(func() int { return len(e.children()) }, 500*time.Millisecond).Should(Equal(2), "kept for their logs")
}

func TestSuspendAndResume(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	e.createJob(jobYAML)
	e.child("net-1")
	e.eventuallyState(v1.StateStarting)

	e.setSuspend(true)
	child := &batchv1.Job{}
	e.Eventually(func() bool {
		return kube.Get(e.ctx, types.NamespacedName{Namespace: e.ns, Name: "net-1"}, child) == nil && child.DeletionTimestamp != nil
	}).Should(BeTrue(), "the child is deleted in the foreground")
	e.Expect(e.job().Status.State).NotTo(Equal(v1.StateSuspended), "not before its pods are gone")
	child.Finalizers = nil // plays the garbage collector
	e.Expect(kube.Update(e.ctx, child)).To(Succeed())
	e.eventuallyState(v1.StateSuspended)

	e.setSuspend(false)
	e.child("net-2")
	got := e.eventuallyState(v1.StateStarting)
	e.Expect(got.Status.Failures + got.Status.Disruptions).To(BeZero())
}

func TestARestartOfTheManagerIsQuiet(t *testing.T) {
	e := newEnv(t)
	_, stop := e.startManager()
	e.createJob(jobYAML)
	e.podStatus(e.createPod(e.child("net-1")), ready("127.0.0.1"))
	before := e.eventuallyState(v1.StateRunning)
	stop()

	count, _ := e.startManager()
	time.Sleep(time.Second)
	e.Expect(e.job().ResourceVersion).To(Equal(before.ResourceVersion))
	e.Expect(count.writes.Load()).To(BeZero())
}

func TestAJobOfThatNameIsInTheWay(t *testing.T) {
	e := newEnv(t)
	foreign := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "net-1"}, Spec: batchv1.JobSpec{
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}}}
	e.Expect(kube.Create(e.ctx, foreign)).To(Succeed())
	e.startManager()
	e.createJob(jobYAML)
	got := e.eventuallyState(v1.StatePending)
	e.Expect(got.Status.Attempt).To(BeZero())
	e.Expect(reasonOf(got, v1.ConditionProgressing)).To(Equal("PodRefused"))
}

func (e *env) setSuspend(suspend bool) {
	e.t.Helper()
	e.patch(func(job *v1.ResNetTrainingJob) { job.Spec.Suspend = suspend })
}

func (e *env) patch(change func(*v1.ResNetTrainingJob)) {
	e.t.Helper()
	job := e.job()
	before := job.DeepCopy()
	change(job)
	e.Expect(kube.Patch(e.ctx, job, client.MergeFrom(before))).To(Succeed())
}

// trainer plays the server in a pod. Its address leads to the listener of a test server: see dialPod.
type trainer struct {
	ip string
	mu sync.Mutex
	p  contract.Progress
}

var (
	trainers    sync.Map // address of a pod to that of its server
	trainersNum atomic.Int32
)

// serveProgress plays a trainer with an address of its own.
func serveProgress(t *testing.T, p contract.Progress) *trainer {
	t.Helper()
	tr := &trainer{p: p, ip: fmt.Sprintf("192.0.2.%d", trainersNum.Add(1))} // TEST-NET-1 of RFC 5737
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if r.URL.Path == contract.ProgressPath {
			_ = json.NewEncoder(w).Encode(tr.p)
		}
	}))
	t.Cleanup(srv.Close)
	trainers.Store(net.JoinHostPort(tr.ip, strconv.Itoa(contract.Port)), srv.Listener.Addr().String())
	return tr
}

// dialPod connects to the server behind the address of a pod. Other addresses refuse.
func dialPod(ctx context.Context, network, address string) (net.Conn, error) {
	server, ok := trainers.Load(address)
	if !ok {
		return nil, fmt.Errorf("nobody is at %s", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, server.(string))
}

func (tr *trainer) says(change func(*contract.Progress)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	change(&tr.p)
}

// checkSecurity states the floor that no pod of ours may fall below.
func checkSecurity(t *testing.T, spec corev1.PodSpec) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(spec.AutomountServiceAccountToken).To(HaveValue(BeFalse()))
	g.Expect(spec.SecurityContext.RunAsNonRoot).To(HaveValue(BeTrue()))
	g.Expect(spec.SecurityContext.SeccompProfile.Type).To(Equal(corev1.SeccompProfileTypeRuntimeDefault))
	for _, c := range spec.Containers {
		g.Expect(c.SecurityContext.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()))
		g.Expect(c.SecurityContext.AllowPrivilegeEscalation).To(HaveValue(BeFalse()))
		g.Expect(c.SecurityContext.Capabilities.Drop).To(ConsistOf(corev1.Capability("ALL")))
	}
}

// TestAMissingVolumeIsToldInSeconds: the pod's status does not say what the kubelet waits for; its events do.
func TestAMissingVolumeIsToldInSeconds(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	e.createJob(jobYAML)
	pod := e.createPod(e.child("net-1"))
	e.podStatus(pod, prepared(corev1.ConditionFalse))
	e.mountFails(pod, "late", `MountVolume.SetUp failed for volume "tls" : secret "ca" not found`, time.Now())
	early := time.Now().Add(-time.Minute)
	e.mountFails(pod, "early", `MountVolume.SetUp failed for volume "tls" : failed to sync secret cache`, early)
	e.Eventually(func() string { return messageOf(e.job(), v1.ConditionProgressing) }).WithTimeout(5 * time.Second).Should(
		Equal(`the pod waits for something that spec.template.volumes names: MountVolume.SetUp failed for volume "tls" : secret "ca" not found`))
	e.Expect(e.job().Status.State).To(Equal(v1.StatePending))
	e.podStatus(pod, ready("127.0.0.1"))
	e.eventuallyState(v1.StateRunning)
}

// An edit of the queue's label is no edit of the spec, and counts as one while the attempt waits.
func TestAJobThatWaitsChangesItsQueue(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	e.createJob(strings.Replace(jobYAML, "{name: net}", "{name: net, labels: {kueue.x-k8s.io/queue-name: a}}", 1))
	e.eventuallyState(v1.StateQueued)
	e.patch(func(job *v1.ResNetTrainingJob) { job.Labels["kueue.x-k8s.io/queue-name"] = "b" })
	e.Expect(e.child("net-2").Labels).To(HaveKeyWithValue("kueue.x-k8s.io/queue-name", "b"))
	e.Expect(e.job().Status.Disruptions + e.job().Status.Failures).To(BeZero())
}
