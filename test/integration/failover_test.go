package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// playCluster plays Job controller and kubelet for all children: each gets a pod that trains at once and ends well.
func (e *env) playCluster() (stop func()) {
	done, wait := make(chan struct{}), sync.WaitGroup{}
	wait.Go(func() {
		seen := map[types.UID]bool{}
		for {
			for _, child := range e.children() {
				if !seen[child.UID] {
					seen[child.UID] = true
					pod := e.createPod(&child)
					e.podStatus(pod, ended(corev1.PodSucceeded, contract.Termination{Progress: &contract.Progress{
						Attempt: 1, Phase: contract.PhaseDone, Epoch: 2, Epochs: 2, Step: 20}}))
					e.complete(&child)
				}
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() { close(done); wait.Wait() }
}

func (e *env) createJobs(n int) {
	e.t.Helper()
	var wait sync.WaitGroup
	const hands = 8
	for hand := range hands {
		wait.Go(func() {
			for i := hand; i < n; i += hands {
				job := parse(e.t, jobYAML)
				job.Namespace, job.Name = e.ns, fmt.Sprintf("net-%03d", i)
				if err := kube.Create(e.ctx, job); err != nil {
					e.t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

func (e *env) jobs() []v1.ResNetTrainingJob {
	e.t.Helper()
	var list v1.ResNetTrainingJobList
	e.Expect(kube.List(e.ctx, &list, client.InNamespace(e.ns))).To(Succeed())
	return list.Items
}

func (e *env) inState(state v1.State) (n int) {
	for _, job := range e.jobs() {
		if job.Status.State == state {
			n++
		}
	}
	return n
}

func (e *env) leader() string {
	var lease coordinationv1.Lease
	if kube.Get(e.ctx, types.NamespacedName{Namespace: e.ns, Name: "resnet-operator"}, &lease) != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// Two managers; the one that leads is killed while fifty jobs are at all stages of their lives. The other one takes
// over: no job is lost, and none gets a second child or a second count of anything.
func TestTheLeaderIsKilled(t *testing.T) {
	e := newEnv(t)
	e.SetDefaultEventuallyTimeout(60 * time.Second) // the Lease of a dead leader lasts 15 s
	const n = 50
	o := processOptions{Namespace: e.ns, ProbeAddr: "0"}
	first := e.startProcess(o)
	e.Eventually(e.leader).ShouldNot(BeEmpty())
	leader := e.leader()
	e.startProcess(o)
	defer e.playCluster()()

	go e.createJobs(n)
	e.Eventually(func() int { return e.inState(v1.StateSucceeded) }).Should(BeNumerically(">=", 5), "the first manager works")
	first.kill()
	e.Expect(e.inState(v1.StateSucceeded)).To(BeNumerically("<", n), "it was killed in the middle")

	e.Eventually(func() int { return e.inState(v1.StateSucceeded) }).Should(Equal(n))
	e.Expect(e.leader()).NotTo(Equal(leader))
	children := map[string]batchv1.Job{}
	for _, child := range e.children() {
		children[child.Name] = child
	}
	e.Expect(children).To(HaveLen(n), "one child for each job")
	for _, job := range e.jobs() {
		e.Expect(children).To(HaveKey(job.Name + "-1"))
		e.Expect([]int32{job.Status.Attempt, job.Status.Failures, job.Status.Disruptions}).To(Equal([]int32{1, 0, 0}), job.Name)
	}
}

// A leader that is told to stop gives its Lease back, so that the next one need not wait until it runs out.
func TestALeaderHandsOver(t *testing.T) {
	e := newEnv(t)
	o := processOptions{Namespace: e.ns, ProbeAddr: freeAddr(t)}
	first := e.startProcess(o)
	e.Eventually(e.leader).ShouldNot(BeEmpty())
	e.Eventually(func() int { return statusOf(o.ProbeAddr, "/readyz") }).Should(Equal(200))
	e.Expect(statusOf(o.ProbeAddr, "/healthz")).To(Equal(200))
	e.createJobs(1)
	e.Eventually(func() int { return len(e.children()) }).Should(Equal(1))

	e.Expect(first.terminate()).To(Succeed(), "exit code 0")
	e.Expect(e.leader()).To(BeEmpty(), "the Lease is free")
}

// A manager that waits for its turn is ready to take over: its cache is filled, and it answers its probes.
func TestAManagerThatWaitsIsReady(t *testing.T) {
	e := newEnv(t)
	o := processOptions{Namespace: e.ns, ProbeAddr: freeAddr(t)}
	e.startProcess(o)
	e.Eventually(e.leader).ShouldNot(BeEmpty())
	o.ProbeAddr = freeAddr(t)
	e.startProcess(o)
	e.Eventually(func() int { return statusOf(o.ProbeAddr, "/readyz") }).Should(Equal(200))
}
