package integration

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers"
)

// A job of another controller is left alone: nothing is created, written, counted or deleted, whatever it looks like.
func TestAJobOfAnotherControllerIsLeftAlone(t *testing.T) {
	e := newEnv(t)
	registry := prometheus.NewRegistry()
	done := reconciles(t)
	e.run(config, controllers.Options{TrainerImage: "trainer:default", MetricsAddr: "0", ProbeAddr: "0", Concurrency: 4,
		Registry: registry, SkipNameValidation: true, DialPod: dialPod, Namespace: e.ns})
	e.createJob(jobYAML + "  managedBy: kueue.x-k8s.io/multikueue\n  ttlSecondsAfterFinished: 0\n")
	e.createJob(strings.Replace(jobYAML, "{name: net}", "{name: own}", 1) + "  managedBy: training.resnet-operator.dev/resnet-operator\n")
	e.child("own-1")
	e.Eventually(func() float64 { return reconciles(t) - done }).Should(BeNumerically(">=", 2))
	e.Expect(e.children()).To(HaveLen(1))
	e.Expect(e.job().Status).To(Equal(v1.ResNetTrainingJobStatus{}))

	// The other controller writes the status, as MultiKueue does of a copy in another cluster.
	job := e.job()
	job.Status.State, job.Status.Attempt, job.Status.CompletionTime = v1.StateSucceeded, 1, ptr.To(metav1.NewTime(time.Now().Add(-time.Hour)))
	e.Expect(kube.Status().Update(e.ctx, job)).To(Succeed())
	written := e.job()
	e.patch(func(job *v1.ResNetTrainingJob) { job.Spec.Suspend = true }) // makes the manager look
	e.Consistently(func() v1.ResNetTrainingJobStatus { return e.job().Status }, time.Second).Should(Equal(written.Status),
		"its time to live is not ours")
	e.Expect(e.story()).To(BeEmpty())
	e.Eventually(func() map[string]float64 { return jobsByState(t, registry) }).Should(Equal(map[string]float64{"Starting": 1}))
}

// jobsByState are the jobs that a manager counts.
func jobsByState(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if n := m.Gauge.GetValue(); f.GetName() == "resnet_operator_jobs" && n > 0 {
				for _, label := range m.Label {
					if label.GetName() == "state" {
						counts[label.GetValue()] += n
					}
				}
			}
		}
	}
	return counts
}

func TestWhoManagesAJobIsImmutable(t *testing.T) {
	for name, c := range map[string]struct {
		before string
		after  *string
	}{
		"set":     {"", ptr.To("kueue.x-k8s.io/multikueue")},
		"changed": {"  managedBy: kueue.x-k8s.io/multikueue\n", ptr.To(v1.ManagedByOperator)},
		"removed": {"  managedBy: kueue.x-k8s.io/multikueue\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			job := e.createJob(jobYAML + c.before)
			job.Spec.ManagedBy = c.after
			e.Expect(kube.Update(e.ctx, job)).To(MatchError(SatisfyAll(
				ContainSubstring("spec.managedBy: Invalid value"), ContainSubstring("is immutable: create another job"))))
		})
	}
}
