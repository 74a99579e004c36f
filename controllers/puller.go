package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// puller asks trainers for their progress, each in a goroutine of its own, so that a pod that does not answer holds up
// nobody. When epoch, accuracy or phase change, or the loss is due, it sends the job's name on changes.
type puller struct {
	clock     clock.PassiveClock
	interval  time.Duration
	transport *http.Transport
	http      *http.Client
	changes   chan changeEvent
	foreign   prometheus.Counter

	mu sync.Mutex
	// By name, of which there is one at a time: a job that is created anew takes the place of the one that was deleted.
	pulled map[types.NamespacedName]*pulled
}

// pulled is what is known of one job.
type pulled struct {
	job      types.NamespacedName
	run      policy.Run
	url      string
	pod      string
	stop     context.CancelFunc
	progress *contract.Progress
	advanced time.Time
	answered time.Time
	written  time.Time
	followed time.Time
}

func newPuller(c clock.PassiveClock, interval time.Duration) *puller {
	transport := &http.Transport{ // straight to the pod, by no proxy
		DialContext:            (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
		DisableCompression:     true,
	}
	return &puller{
		clock:     c,
		interval:  interval,
		transport: transport,
		http: &http.Client{
			Timeout:   2 * time.Second,
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a pod sends us nowhere
			},
		},
		changes: make(chan changeEvent, 1024),
		foreign: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricsPrefix + "foreign_answers_total",
			Help: "Answers to the question for progress that came from the trainer of another job, and were ignored.",
		}),
		pulled: map[types.NamespacedName]*pulled{},
	}
}

// Start makes the goroutines of all jobs end with the manager.
func (p *puller) Start(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.pulled {
		e.stop()
	}
	return nil
}

// follow pulls from the url of the pod of an attempt until one of them changes or the job is forgotten.
func (p *puller) follow(job types.NamespacedName, run policy.Run, pod, url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.pulled[job]
	if e == nil || e.run.UID != run.UID {
		if e != nil {
			e.stop()
		}
		e = &pulled{job: job, stop: func() {}}
		p.pulled[job] = e
	}
	if e.run == run && e.url == url && e.pod == pod {
		return
	}
	e.stop()
	ctx, cancel := context.WithCancel(context.Background()) // ended by forget, follow or Start
	e.run, e.url, e.pod, e.stop = run, url, pod, cancel
	e.progress, e.advanced, e.answered, e.followed = nil, p.clock.Now(), time.Time{}, p.clock.Now()
	go p.loop(ctx, job, run, url)
}

// forget stops pulling; what was pulled is dropped.
func (p *puller) forget(job types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.pulled[job]; e != nil {
		e.stop()
		delete(p.pulled, job)
	}
}

// observe adds what is known of a job to an observation.
func (p *puller) observe(o *policy.Observation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.pulled[client.ObjectKeyFromObject(o.Job)]
	if e == nil || e.run.UID != o.Job.UID {
		return
	}
	o.ProgressWritten, o.LossDue = e.written, p.lossDue(e)
	if e.run.Attempt == o.Attempt {
		o.FollowedPod, o.Progress, o.Advanced, o.Answered = e.pod, e.progress, e.advanced, e.answered
	}
}

// written notes that progress was written to the status.
func (p *puller) written(job types.NamespacedName, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.pulled[job]; e != nil {
		e.written = at
	}
}

// lossesPerSecond is about how many jobs are written in a second for nothing but the loss of their current epoch.
const lossesPerSecond = 50

// lossDue reports whether the loss of the current epoch is worth a write: the last one is ten seconds old, or more if
// there are many jobs. p.mu is held.
func (p *puller) lossDue(e *pulled) bool {
	interval := max(policy.ProgressInterval, time.Duration(len(p.pulled))*time.Second/lossesPerSecond)
	last := e.followed // after a change of the leader all jobs are followed anew
	if e.written.After(last) {
		last = e.written
	}
	return p.clock.Since(last) >= interval
}

// pullsPerSecond is about how many trainers are asked in a second, however many there are.
const pullsPerSecond = 400

// pause between two questions to a trainer.
func (p *puller) pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.interval, time.Duration(len(p.pulled))*time.Second/pullsPerSecond)
}

func (p *puller) loop(ctx context.Context, job types.NamespacedName, run policy.Run, url string) {
	for {
		if progress, err := p.pull(ctx, run, url); err == nil && p.store(ctx, job, progress) {
			select {
			case p.changes <- changeEvent{Object: job}:
			case <-ctx.Done():
			}
		}
		select {
		case <-time.After(p.pause()):
		case <-ctx.Done():
			return
		}
	}
}

// store keeps progress and reports whether it is worth a reconcile.
func (p *puller) store(ctx context.Context, job types.NamespacedName, progress *contract.Progress) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.pulled[job]
	if e == nil || ctx.Err() != nil { // forgotten while the answer was on its way
		return false
	}
	e.answered = p.clock.Now()
	old := e.progress
	if old != nil && (progress.Step < old.Step || progress.Epoch < old.Epoch) {
		return false // an attempt only goes forward
	}
	if old == nil || old.Step != progress.Step || old.Phase != progress.Phase {
		e.advanced = p.clock.Now()
	}
	e.progress = progress
	return old == nil || old.Phase != progress.Phase || old.Epoch != progress.Epoch ||
		!equal(old.Loss, progress.Loss) && p.lossDue(e) ||
		!equal(old.Accuracy, progress.Accuracy) ||
		(old.FirstStepTime == nil) != (progress.FirstStepTime == nil) || !sameWaiting(old.Waiting, progress.Waiting)
}

func equal(a, b *float64) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameWaiting(a, b *contract.Waiting) bool {
	return a == b || a != nil && b != nil && a.For == b.For && a.Since.Equal(b.Since)
}

func (p *puller) pull(ctx context.Context, run policy.Run, url string) (*contract.Progress, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	progress, err := policy.ParseProgress(resp.Body, run)
	if errors.Is(err, policy.ErrAnotherJob) {
		p.foreign.Inc()
	}
	return progress, err
}
