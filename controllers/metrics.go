package controllers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// metrics counts what happened to jobs. It counts when a status is written, which happens once for every change: the
// write carries the resourceVersion that the decision was made on.
type metrics struct {
	attempts    prometheus.Counter
	failures    *prometheus.CounterVec
	disruptions *prometheus.CounterVec
	finished    *prometheus.CounterVec
	queueWait   prometheus.Histogram
	firstStep   prometheus.Histogram
	run         prometheus.Histogram
}

// From a second, a pod that starts at once, to days.
var (
	waitBuckets = []float64{1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 2 * 3600, 6 * 3600, 24 * 3600}
	runBuckets  = []float64{
		60, 300, 600, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 16 * 3600, 24 * 3600, 48 * 3600, 7 * 24 * 3600,
	}
)

const metricsPrefix = "resnet_operator_"

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: metricsPrefix + name, Help: help, Buckets: buckets})
	}
	return &metrics{
		attempts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricsPrefix + "attempts_total", Help: "Attempts begun.",
		}),
		failures:    counter("failures_total", "Attempts that failed, by reason.", "reason"),
		disruptions: counter("disruptions_total", "Attempts that were ended from outside, by what ended them.", "reason"),
		finished:    counter("finished_jobs_total", "Jobs that came to their end, by state and reason.", "state", "reason"),
		queueWait: histogram("queue_wait_seconds",
			"Time from the creation of an attempt until its pod is on a node: waiting for quota and for room.", waitBuckets),
		firstStep: histogram("time_to_first_step_seconds",
			"Time from the creation of a job until its first optimiser step.", waitBuckets),
		run: histogram("run_seconds", "Time from the first optimiser step of a job until its end.", runBuckets),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.attempts, m.failures, m.disruptions, m.finished, m.queueWait, m.firstStep, m.run}
}

// wrote counts the difference that a status made.
func (m *metrics) wrote(o *policy.Observation, after v1.ResNetTrainingJobStatus) {
	before := o.Job.Status
	m.attempts.Add(float64(max(0, after.Attempt-before.Attempt)))
	if n := after.Failures - before.Failures; n > 0 {
		m.failures.WithLabelValues(reasonFor(after)).Add(float64(n))
	}
	if n := after.Disruptions - before.Disruptions; n > 0 {
		m.disruptions.WithLabelValues(disruptedBy(o)).Add(float64(n))
	}
	if pod := o.Pod(); pod != nil && pod.Status.StartTime != nil && after.AttemptStartTime != nil &&
		after.State == v1.StateRunning && before.State != v1.StateRunning {
		observeSpan(m.queueWait, after.AttemptStartTime, pod.Status.StartTime)
	}
	if before.FirstStepTime == nil {
		observeSpan(m.firstStep, &o.Job.CreationTimestamp, after.FirstStepTime)
	}
	if before.CompletionTime == nil && after.CompletionTime != nil {
		m.finished.WithLabelValues(string(after.State), reasonFor(after)).Inc()
		observeSpan(m.run, after.FirstStepTime, after.CompletionTime)
	}
}

// observeSpan ignores ends that are not known. The clocks of nodes differ, so that an end may lie before its begin.
func observeSpan(h prometheus.Histogram, from, to *metav1.Time) {
	if from != nil && to != nil {
		h.Observe(max(0, to.Sub(from.Time)).Seconds())
	}
}

// reasonFor is why the last attempt ended: one of the constants in api/v1/reasons.go.
func reasonFor(s v1.ResNetTrainingJobStatus) string {
	for _, kind := range []string{v1.ConditionComplete, v1.ConditionFailed, v1.ConditionProgressing} {
		c := meta.FindStatusCondition(s.Conditions, kind)
		if c != nil && (c.Status == metav1.ConditionTrue || kind == v1.ConditionProgressing) {
			return c.Reason
		}
	}
	return v1.ReasonTrainerError
}

// Reasons of disruptions that Kubernetes has no name for; the others are those of the pod condition DisruptionTarget,
// such as EvictionByEvictionAPI or PreemptionByScheduler.
const (
	disruptionJobDeleted = "JobDeleted"
	disruptionPreempted  = "PreemptedByQueue"
	disruptionPodDeleted = "PodDeleted"
	disruptionRejected   = "RejectedByNode"
)

// disruptionReasons keeps the label to what Kubernetes documents, since a pod's conditions can be written by others.
var disruptionReasons = map[string]bool{
	"PreemptionByScheduler": true, "DeletionByTaintManager": true, "EvictionByEvictionAPI": true,
	"DeletionByPodGC": true, "TerminationByKubelet": true,
}

// disruptedBy says in one word what ended the attempt.
func disruptedBy(o *policy.Observation) string {
	pod := o.Pod()
	switch {
	case o.Child == nil:
		return disruptionJobDeleted
	case childjob.Suspended(o.Child):
		return disruptionPreempted
	case pod == nil:
		return disruptionPodDeleted
	}
	if c := childjob.PodHas(pod, corev1.DisruptionTarget); c != nil {
		if disruptionReasons[c.Reason] {
			return c.Reason
		}
		return "Other"
	}
	if !pod.DeletionTimestamp.IsZero() {
		return disruptionPodDeleted
	}
	return disruptionRejected
}

// seconds of a time since 1970, for gauges.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
