package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// live follows running jobs: how far their status is behind their trainers.
type live struct {
	trainers *trainers

	mu      sync.Mutex
	ips     map[string]string // of jobs
	epochs  map[string]int32  // in their status
	running map[string]bool
	lags    []time.Duration
	record  bool
}

func (l *live) sawPod(o client.Object) bool {
	if pod := o.(*corev1.Pod); pod.Status.PodIP != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ips[pod.Labels[childjob.LabelJobName]] = pod.Status.PodIP
	}
	return false
}

func (l *live) sawJob(o client.Object) bool {
	job := o.(*v1.ResNetTrainingJob)
	l.mu.Lock()
	defer l.mu.Unlock()
	if job.Status.State == v1.StateRunning {
		l.running[job.Name] = true
	}
	var epoch int32
	if p := job.Status.Progress; p != nil {
		epoch = p.Epoch
	}
	for e := l.epochs[job.Name] + 1; e <= epoch; e++ { // also those that were skipped
		if at, ok := l.trainers.done(l.ips[job.Name], e); ok && l.record {
			l.lags = append(l.lags, time.Since(at))
		}
	}
	l.epochs[job.Name] = max(epoch, l.epochs[job.Name])
	return false
}

// behind adds what the status has not caught up with at the end.
func (l *live) behind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.running {
		if at, ok := l.trainers.done(l.ips[name], l.epochs[name]+1); ok && time.Since(at) > 0 {
			l.lags = append(l.lags, time.Since(at))
		}
	}
}

// runLive keeps n jobs running and measures for the given time, two epochs after the last one began to run.
func (c *cluster) runLive(ctx context.Context, t *trainers, manager *process, n int, length time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &live{trainers: t, ips: map[string]string{}, epochs: map[string]int32{}, running: map[string]bool{}}
	if _, err := c.follow(ctx, &corev1.Pod{}, l.sawPod); err != nil {
		return err
	}
	if _, err := c.follow(ctx, &v1.ResNetTrainingJob{}, l.sawJob); err != nil {
		return err
	}
	if _, err := c.create(ctx, n, func(i int) client.Object { return trainingJob(i) }); err != nil {
		return err
	}
	for l.countRunning() < n {
		if err := c.check(); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d jobs run: %w", l.countRunning(), n, ctx.Err())
		}
	}
	time.Sleep(2 * t.period) // what was put off while so many jobs were created is made up for
	before, err := c.requests()
	if err != nil {
		return err
	}
	cpu := manager.usage().cpu
	l.mu.Lock()
	l.record = true
	l.mu.Unlock()
	began := time.Now()
	time.Sleep(length)
	took := time.Since(began)
	l.behind()
	used := manager.usage()
	after, err := c.requests()
	if err != nil {
		return err
	}
	maps.DeleteFunc(after, func(what string, count int) bool { after[what] = count - before[what]; return after[what] == 0 })
	l.report(n, t.period, took, used, used.cpu-cpu, after)
	return c.check()
}

func (l *live) countRunning() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running)
}

func (l *live) report(n int, period, took time.Duration, used usage, cpu time.Duration, counts map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var writes int
	for _, count := range counts {
		writes += count
	}
	fmt.Printf("\n%d running jobs for %.0f s, an epoch every %.0f s:\n\n", n, took.Seconds(), period.Seconds())
	fmt.Printf("| status behind the trainer, p50 / p99 / max s | epochs seen | writes of a job in 10 s | CPU of the manager | RSS MiB |\n| --- | --- | --- | --- | --- |\n")
	fmt.Printf("| %.1f / %.1f / %.1f | %d | %.2f | %.0f %% | %.0f |\n",
		percentile(l.lags, .5), percentile(l.lags, .99), percentile(l.lags, 1), len(l.lags),
		float64(writes)/float64(n)/took.Seconds()*10, 100*cpu.Seconds()/took.Seconds(), used.rss)
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Printf("  %s: %d\n", what, counts[what])
	}
}
