package progress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// metric is a number of a progress record; ok is false while it is not known. The labels that name the job are those
// that Prometheus adds to the pod it scrapes.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(p contract.Progress) (v float64, ok bool)
}

func gauge(name, help string, value func(p contract.Progress) (float64, bool)) metric {
	return metric{prometheus.NewDesc("resnet_trainer_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

// planned gives a number that is known once the plan of the training is. That, and how far it is, only rank 0 tells:
// the other pods of a job have the series of their own process, and nothing is there twice.
func planned(of func(p contract.Progress) float64) func(p contract.Progress) (float64, bool) {
	return func(p contract.Progress) (float64, bool) { return of(p), p.Steps > 0 }
}

func positive(v float64) (float64, bool) { return v, v > 0 }

func pointer(v *float64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return *v, true
}

func unix(t *time.Time) (float64, bool) {
	if t == nil || t.IsZero() {
		return 0, false
	}
	return float64(t.UnixMilli()) / 1000, true
}

var metrics = []metric{
	{
		prometheus.NewDesc("resnet_trainer_steps_total", "Optimiser steps done, those before a resume included.", nil, nil),
		prometheus.CounterValue, planned(func(p contract.Progress) float64 { return float64(p.Step) }),
	},
	gauge("planned_steps", "Optimiser steps of the whole run.",
		planned(func(p contract.Progress) float64 { return float64(p.Steps) })),
	gauge("epoch", "Epochs done.",
		planned(func(p contract.Progress) float64 { return float64(p.Epoch) })),
	gauge("planned_epochs", "Epochs of the whole run.",
		planned(func(p contract.Progress) float64 { return float64(p.Epochs) })),
	gauge("attempt", "Number of this attempt at the job, from 1.",
		func(p contract.Progress) (float64, bool) { return positive(float64(p.Attempt)) }),
	gauge("loss", "Mean training loss of the current epoch so far, or of the last one until a step of the next is known.",
		func(p contract.Progress) (float64, bool) { return pointer(p.Loss) }),
	gauge("accuracy_ratio", "Top-1 test accuracy of the last evaluation, from 0 to 1.",
		func(p contract.Progress) (float64, bool) { return pointer(p.Accuracy) }),
	gauge("int8_accuracy_ratio", "Top-1 test accuracy of the quantised network in the last evaluation, from 0 to 1.",
		func(p contract.Progress) (float64, bool) { return pointer(p.Int8Accuracy) }),
	gauge("best_accuracy_ratio", "Highest top-1 test accuracy so far, from 0 to 1.",
		func(p contract.Progress) (float64, bool) { return pointer(p.BestAccuracy) }),
	gauge("learning_rate", "Learning rate of the last step.",
		func(p contract.Progress) (float64, bool) { return p.LR, p.Steps > 0 && p.FirstStepTime != nil }),
	gauge("images_per_second", "Training throughput.",
		func(p contract.Progress) (float64, bool) { return positive(p.ImagesPerSecond) }),
	gauge("eta_seconds", "Expected time to the end.",
		func(p contract.Progress) (float64, bool) { return positive(p.ETASeconds) }),
	gauge("start_time_seconds", "When the trainer started, in Unix time.",
		func(p contract.Progress) (float64, bool) { return unix(&p.StartTime) }),
	gauge("first_step_time_seconds", "When this attempt's first optimiser step was done, in Unix time.",
		func(p contract.Progress) (float64, bool) { return unix(p.FirstStepTime) }),
	gauge("checkpoint_time_seconds", "When the last checkpoint was complete in the storage, in Unix time.",
		func(p contract.Progress) (float64, bool) {
			if p.Checkpoint == nil {
				return 0, false
			}
			return unix(&p.Checkpoint.Time)
		}),
}

var phaseDesc = prometheus.NewDesc("resnet_trainer_phase", "1 for what the trainer is doing.", []string{"phase"}, nil)

// collector makes the metrics from the progress record when Prometheus asks.
type collector struct{ tracker *Tracker }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
	ch <- phaseDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	p := c.tracker.Snapshot()
	for _, m := range metrics {
		if v, ok := m.value(p); ok {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v)
		}
	}
	ch <- prometheus.MustNewConstMetric(phaseDesc, prometheus.GaugeValue, 1, string(p.Phase))
}
