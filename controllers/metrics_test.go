package controllers

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// full is a registry in which every metric has a value: one job runs, and one did everything that is counted.
func full(t *testing.T) (*prometheus.Registry, *puller) {
	t.Helper()
	scheme := Options{}.manager().Scheme
	p := newTestPuller()
	p.pulled[team] = &pulled{job: team, run: run("u-1", 1), stop: func() {}, advanced: Now.Time,
		progress: &contract.Progress{
			Epoch: 3, Epochs: 20, Loss: ptr.To(0.25), Accuracy: ptr.To(0.9), Int8Accuracy: ptr.To(0.89), BestAccuracy: ptr.To(0.91), ImagesPerSecond: 1200,
		}}
	elected := make(chan struct{})
	close(elected)
	m := newMetrics()
	before := observed(NewJob(), Child(1),
		Pod(corev1.PodRunning, func(p *corev1.Pod) { p.Status.StartTime = ptr.To(later(7)) }))
	before.Job.CreationTimestamp = Now
	m.wrote(&before, v1.ResNetTrainingJobStatus{
		State: v1.StateRunning, Attempt: 1, Failures: 1, Disruptions: 1, AttemptStartTime: &Now,
		FirstStepTime: ptr.To(later(9)), CompletionTime: ptr.To(later(99)),
		Conditions: []metav1.Condition{
			{Type: v1.ConditionProgressing, Status: metav1.ConditionTrue, Reason: v1.ReasonStorageUnreachable}},
	})
	registry := prometheus.NewRegistry()
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(Running(1)).Build()
	for _, c := range append(m.collectors(), &jobsCollector{reader: reader, puller: p, elected: elected}) {
		registry.MustRegister(c)
	}
	return registry, p
}

func later(seconds int) metav1.Time {
	return metav1.NewTime(Now.Add(time.Duration(seconds) * time.Second))
}

func gather(t *testing.T, r *prometheus.Registry) []*dto.MetricFamily {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestMetricsKeepTheConventions(t *testing.T) {
	registry, _ := full(t)
	problems, err := promlint.NewWithMetricFamilies(gather(t, registry)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// The list in testdata is what alerts and dashboards are checked against.
func TestMetricsAreThoseOnRecord(t *testing.T) {
	registry, _ := full(t)
	var lines []string
	for _, f := range gather(t, registry) {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		if f.GetType() == dto.MetricType_COUNTER &&
			slices.ContainsFunc(labels, func(l string) bool { return l == "name" || l == "namespace" }) {
			t.Errorf("%s: a counter that names objects never stops growing", f.GetName())
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %s: %s", f.GetName(), strings.Join(labels, ","),
			strings.ToLower(f.GetType().String()), f.GetHelp()))
	}
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("go test ./controllers -run OnRecord -update writes the new list (-want +got):\n%s", diff)
	}
}

func TestMetricsOfARunningJobGoWithIt(t *testing.T) {
	registry, p := full(t)
	const names = "resnet_operator_job_epoch resnet_operator_job_loss resnet_operator_job_accuracy_ratio " +
		"resnet_operator_job_images_per_second"
	want := `
# HELP resnet_operator_job_accuracy_ratio Top-1 test accuracy of a running job at its last evaluation, from 0 to 1.
# TYPE resnet_operator_job_accuracy_ratio gauge
resnet_operator_job_accuracy_ratio{name="net",namespace="team"} 0.9
# HELP resnet_operator_job_epoch Epochs that a running job has done.
# TYPE resnet_operator_job_epoch gauge
resnet_operator_job_epoch{name="net",namespace="team"} 3
# HELP resnet_operator_job_images_per_second Training throughput of a running job.
# TYPE resnet_operator_job_images_per_second gauge
resnet_operator_job_images_per_second{name="net",namespace="team"} 1200
# HELP resnet_operator_job_loss Mean training loss of the current epoch of a running job so far, or of its last one.
# TYPE resnet_operator_job_loss gauge
resnet_operator_job_loss{name="net",namespace="team"} 0.25
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), strings.Fields(names)...); err != nil {
		t.Error(err)
	}
	p.forget(team)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(""), strings.Fields(names)...); err != nil {
		t.Errorf("after the job's end: %v", err)
	}
}

func TestOnlyTheLeaderReportsJobs(t *testing.T) {
	c := &jobsCollector{puller: newTestPuller(), elected: make(chan struct{})}
	if n := testutil.CollectAndCount(c); n != 0 {
		t.Errorf("a manager that waits for its turn reports %d metrics, and each job would be there twice", n)
	}
}

func TestJobsByState(t *testing.T) {
	registry, _ := full(t)
	want := "# HELP resnet_operator_jobs Jobs by state.\n# TYPE resnet_operator_jobs gauge\n"
	for _, state := range []string{"Failed", "Pending", "Queued", "Restarting", "Running", "Starting", "Succeeded",
		"Suspended"} {
		n := 0
		if state == "Running" {
			n = 1
		}
		want += fmt.Sprintf("resnet_operator_jobs{namespace=\"team\",state=%q} %d\n", state, n)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "resnet_operator_jobs"); err != nil {
		t.Error(err)
	}
}

func TestWhatIsCounted(t *testing.T) {
	failed := func(reason string) []metav1.Condition {
		return []metav1.Condition{{Type: v1.ConditionFailed, Status: metav1.ConditionTrue, Reason: reason},
			{Type: v1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: "other"}}
	}
	for name, test := range map[string]struct {
		before policy.Observation
		after  v1.ResNetTrainingJobStatus
		want   string // one line each: name{labels} value
	}{
		"progress alone counts nothing": {
			before: observed(Running(1), Child(1)),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateRunning, Attempt: 1},
		},
		"an attempt begins": {
			before: observed(NewJob()),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateStarting, Attempt: 1},
			want:   "attempts_total 1\n",
		},
		"a pod waited for a node, and the job for its first step": {
			before: observed(Starting(1), Child(1),
				Pod(corev1.PodRunning, func(p *corev1.Pod) { p.Status.StartTime = ptr.To(later(40)) })),
			after: v1.ResNetTrainingJobStatus{State: v1.StateRunning, Attempt: 1, AttemptStartTime: &Now,
				FirstStepTime: ptr.To(later(50))},
			want: "queue_wait_seconds 40\ntime_to_first_step_seconds 50\n",
		},
		"the clock of the node is behind": {
			before: observed(Starting(1), Child(1)),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateRunning, Attempt: 1, FirstStepTime: ptr.To(later(-3))},
			want:   "time_to_first_step_seconds 0\n",
		},
		"a job fails for good": {
			before: observed(Running(1), Child(1)),
			after: v1.ResNetTrainingJobStatus{State: v1.StateFailed, Attempt: 1, Failures: 1, FirstStepTime: &Now,
				CompletionTime: ptr.To(later(300)), Conditions: failed(v1.ReasonDiverged)},
			want: "failures_total Diverged 1\nfinished_jobs_total Diverged Failed 1\nrun_seconds " +
				"300\ntime_to_first_step_seconds 0\n",
		},
		"evicted": {
			before: observed(Running(1), Child(1), Pod(corev1.PodFailed, Disrupted("EvictionByEvictionAPI"))),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateRestarting, Attempt: 1, Disruptions: 1},
			want:   "disruptions_total EvictionByEvictionAPI 1\n",
		},
		"a reason that a stranger wrote": {
			before: observed(Running(1), Child(1), Pod(corev1.PodFailed, Disrupted("X-93ac7f"))),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateRestarting, Attempt: 1, Disruptions: 1},
			want:   "disruptions_total Other 1\n",
		},
		"preempted by the queue": {
			before: observed(Running(1), Child(1, SuspendedChild), Pod(corev1.PodFailed, DeletedPod(0))),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateRestarting, Attempt: 1, Disruptions: 1},
			want:   "disruptions_total PreemptedByQueue 1\n",
		},
		"the Job was deleted": {
			before: observed(Running(1)),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateRestarting, Attempt: 1, Disruptions: 1},
			want:   "disruptions_total JobDeleted 1\n",
		},
		"not taken by its node": {
			before: observed(Running(1), Child(1), Pod(corev1.PodFailed, RejectedBy("OutOfcpu", ""))),
			after:  v1.ResNetTrainingJobStatus{State: v1.StateRestarting, Attempt: 1, Disruptions: 1},
			want:   "disruptions_total RejectedByNode 1\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.before.Job.CreationTimestamp = Now
			m := newMetrics()
			m.wrote(&test.before, test.after)
			if got := counted(t, m); got != test.want {
				t.Errorf("counted:\n%swant:\n%s", got, test.want)
			}
		})
	}
}

// counted lists what is not zero; histograms with their sum.
func counted(t *testing.T, m *metrics) string {
	registry := prometheus.NewRegistry()
	for _, c := range m.collectors() {
		registry.MustRegister(c)
	}
	var out strings.Builder
	for _, f := range gather(t, registry) {
		for _, metric := range f.Metric {
			words := []string{strings.TrimPrefix(f.GetName(), metricsPrefix)}
			for _, l := range metric.Label {
				words = append(words, l.GetValue())
			}
			switch h := metric.Histogram; {
			case h.GetSampleCount() > 0:
				fmt.Fprintf(&out, "%s %v\n", strings.Join(words, " "), h.GetSampleSum())
			case metric.Counter.GetValue() > 0:
				fmt.Fprintf(&out, "%s %v\n", strings.Join(words, " "), metric.Counter.GetValue())
			}
		}
	}
	return out.String()
}

// observed is what is observed of a job, with its child and pods.
func observed(job *v1.ResNetTrainingJob, parts ...any) policy.Observation {
	o := policy.Observation{Job: job, Attempt: job.Status.Attempt}
	if o.Child, o.Pods = ChildAndPods(parts...); o.Child != nil && o.Attempt == 0 {
		o.Attempt = 1
	}
	return o
}
