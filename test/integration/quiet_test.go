package integration

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// statusOf a GET; 0 if nobody answers.
func statusOf(addr, path string) int {
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// A manager that comes back to a thousand jobs writes nothing, whatever state they are in.
func TestARestartWithAThousandJobsIsQuiet(t *testing.T) {
	e := newEnv(t)
	e.SetDefaultEventuallyTimeout(120 * time.Second)
	const n = 1000
	_, stop := e.startManager()
	e.createJobs(n)
	e.Eventually(func() int { return len(e.children()) }).WithPolling(500 * time.Millisecond).Should(Equal(n))
	for i, child := range e.children()[:300] { // the others wait for their pod
		pod := e.createPod(&child)
		switch i % 3 {
		case 0:
			e.podStatus(pod, ready("127.0.0.1"))
		case 1:
			e.podStatus(pod, func(s *corev1.PodStatus) {
				s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
			})
		}
	}
	e.Eventually(func() int { return e.inState(v1.StateRunning) }).WithPolling(500 * time.Millisecond).Should(Equal(100))
	e.Eventually(func() int { return e.inState(v1.StatePending) }).WithPolling(500 * time.Millisecond).Should(Equal(100))
	stop()
	before := e.versions()

	done := reconciles(t)
	count, _ := e.startManager()
	e.Eventually(func() float64 { return reconciles(t) - done }).Should(BeNumerically(">=", n), "the new manager has looked at every job")
	e.Expect(count.writes.Load()).To(BeZero())
	e.Expect(e.versions()).To(Equal(before))
}

// reconciles that all managers of this process have done.
func reconciles(t *testing.T) (n float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "controller_runtime_reconcile_total" {
			for _, m := range f.Metric {
				n += m.Counter.GetValue()
			}
		}
	}
	return n
}

// versions of all jobs: they change with every write.
func (e *env) versions() map[string]string {
	versions := map[string]string{}
	for _, job := range e.jobs() {
		versions[job.Name] = job.ResourceVersion
	}
	return versions
}
