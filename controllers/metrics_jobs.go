package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// jobsCollector reports what is true now, read at the time of the scrape, so that nothing has to be taken back when a
// job goes. A manager that does not lead reports nothing, or every job would be there twice.
type jobsCollector struct {
	reader  client.Reader
	puller  *puller
	elected <-chan struct{}
}

// scrapeTimeout is long for a read from memory; it only matters while the cache still fills.
const scrapeTimeout = 5 * time.Second

func jobDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(metricsPrefix+"job_"+name, help, []string{"namespace", "name"}, nil)
}

var (
	jobsDesc = prometheus.NewDesc(metricsPrefix+"jobs", "Jobs by state.", []string{"namespace", "state"}, nil)

	epochDesc  = jobDesc("epoch", "Epochs that a running job has done.")
	epochsDesc = jobDesc("planned_epochs", "Epochs that a running job will do in all.")
	lossDesc   = jobDesc("loss",
		"Mean training loss of the current epoch of a running job so far, or of its last one.")
	accuracyDesc = jobDesc("accuracy_ratio",
		"Top-1 test accuracy of a running job at its last evaluation, from 0 to 1.")
	int8Desc = jobDesc("int8_accuracy_ratio",
		"Top-1 test accuracy of a running job's quantised network in its last evaluation, from 0 to 1.")
	bestDesc      = jobDesc("best_accuracy_ratio", "Highest top-1 test accuracy of a running job so far, from 0 to 1.")
	speedDesc     = jobDesc("images_per_second", "Training throughput of a running job.")
	lastMovedDesc = jobDesc("last_step_timestamp_seconds",
		"When the manager last saw the step count of a running job change, or began to ask for it.")
)

var jobDescs = []*prometheus.Desc{
	jobsDesc, epochDesc, epochsDesc, lossDesc, accuracyDesc, int8Desc, bestDesc, speedDesc, lastMovedDesc,
}

// states in which a job can be. All are reported, also those in which no job is.
var states = []v1.State{v1.StatePending, v1.StateQueued, v1.StateStarting, v1.StateRunning, v1.StateRestarting,
	v1.StateSuspended, v1.StateSucceeded, v1.StateFailed}

func (c *jobsCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range jobDescs {
		out <- d
	}
	c.puller.foreign.Describe(out)
}

func (c *jobsCollector) Collect(out chan<- prometheus.Metric) {
	select {
	case <-c.elected:
	default:
		return
	}
	c.countStates(out)
	c.puller.foreign.Collect(out)
	for _, p := range c.puller.snapshot() {
		c.live(out, p)
	}
}

func (c *jobsCollector) countStates(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var list v1.ResNetTrainingJobList
	// The objects are the cache's own: thousands of copies for eight numbers would be a waste.
	if err := c.reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		out <- prometheus.NewInvalidMetric(jobsDesc, err)
		return
	}
	counts := map[string]map[v1.State]int{}
	for i := range list.Items {
		job := &list.Items[i]
		if !managed(job) {
			continue
		}
		if counts[job.Namespace] == nil {
			counts[job.Namespace] = map[v1.State]int{}
		}
		state := job.Status.State
		if state == "" { // created, and not looked at yet
			state = v1.StatePending
		}
		counts[job.Namespace][state]++
	}
	for namespace, byState := range counts {
		for _, state := range states {
			n := float64(byState[state])
			out <- prometheus.MustNewConstMetric(jobsDesc, prometheus.GaugeValue, n, namespace, string(state))
		}
	}
}

// live reports one running job.
func (c *jobsCollector) live(out chan<- prometheus.Metric, p pulled) {
	gauge := func(d *prometheus.Desc, value *float64) {
		if value != nil {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, *value, p.job.Namespace, p.job.Name)
		}
	}
	moved := unixSeconds(p.advanced)
	gauge(lastMovedDesc, &moved)
	if p.progress == nil || p.progress.Phase == contract.PhaseLoading { // the counters are not set yet
		return
	}
	epoch, epochs := float64(p.progress.Epoch), float64(p.progress.Epochs)
	gauge(epochDesc, &epoch)
	gauge(epochsDesc, &epochs)
	gauge(lossDesc, p.progress.Loss)
	gauge(accuracyDesc, p.progress.Accuracy)
	gauge(int8Desc, p.progress.Int8Accuracy)
	gauge(bestDesc, p.progress.BestAccuracy)
	if speed := p.progress.ImagesPerSecond; speed > 0 {
		gauge(speedDesc, &speed)
	}
}

// snapshot copies what is known of all jobs.
func (p *puller) snapshot() []pulled {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]pulled, 0, len(p.pulled))
	for _, e := range p.pulled {
		all = append(all, *e)
	}
	return all
}
