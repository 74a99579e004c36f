// Package mlflow tells an MLflow tracking server of a training: parameters, metrics, and where the results lie. It speaks
// MLflow's REST API (https://mlflow.org/docs/latest/rest-api.html), in the background: a server that is slow, away or
// wrong delays no step and ends no training.
package mlflow

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// Variables of the environment, as MLflow's own clients read them.
const (
	envURI        = "MLFLOW_TRACKING_URI"
	envExperiment = "MLFLOW_EXPERIMENT_NAME"
	envToken      = "MLFLOW_TRACKING_TOKEN"
	envUser       = "MLFLOW_TRACKING_USERNAME"
	envPassword   = "MLFLOW_TRACKING_PASSWORD"
)

// Status of a run, in MLflow's words.
type Status string

const (
	Running  Status = "RUNNING"
	Finished Status = "FINISHED"
	Failed   Status = "FAILED"
	Killed   Status = "KILLED"
)

// maxPending is how many values may wait for the server; beyond that the oldest are dropped, and it is said how many.
const maxPending = 10_000

// lastPatience is how long Close waits for the server.
const lastPatience = 10 * time.Second

// Logger of a run. Its methods return at once, except Close, and may be called on nil, which logs nothing.
type Logger struct {
	client *client
	log    *slog.Logger
	run    run
	sleep  func(attempt int) time.Duration // before a request is tried again

	mu      sync.Mutex
	params  map[string]string
	tags    map[string]string
	metrics []metric
	dropped int
	status  Status // to be set; "" if it is

	wake    chan struct{} // holds one when there is something to send
	closing chan struct{} // closed by Close
	stop    context.CancelFunc
	done    chan struct{}
}

// run is what a Logger looks for, or makes, on the server.
type run struct {
	experiment string
	name       string
	key        string // the value of the tag by which a later attempt finds it
	start      time.Time
}

// rootTag holds the URI of the job's folder, which no other job has.
const rootTag = "resnet-operator.root"

// metric is a value of a curve, as the REST API has it.
type metric struct {
	Key       string  `json:"key"`
	Value     float64 `json:"value"`
	Timestamp int64   `json:"timestamp"`
	Step      int64   `json:"step"`
}

// Start returns a logger for the server that the environment names; nil if it names none. The run is that of the job
// whose results lie below root, also of its earlier attempts.
//
// Errors: exit code 64 if a variable is wrong.
func Start(ctx context.Context, name, root string, log *slog.Logger) (*Logger, error) {
	c, err := clientFromEnvironment()
	if c == nil || err != nil {
		return nil, err
	}
	l := newLogger(c, run{cmp.Or(os.Getenv(envExperiment), "Default"), name, root, time.Now()}, log)
	l.begin(ctx)
	return l, nil
}

func newLogger(c *client, r run, log *slog.Logger) *Logger {
	return &Logger{client: c, log: log, run: r, sleep: backoff, status: Running, params: map[string]string{},
		tags: map[string]string{}, wake: make(chan struct{}, 1),
		closing: make(chan struct{}), done: make(chan struct{})}
}

// begin sends in the background until Close.
func (l *Logger) begin(ctx context.Context) {
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.signal()
	go l.work(ctx)
}

// Params are what the run was configured with. A value that the server has already must be the same.
func (l *Logger) Params(params map[string]string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.params, params)
	l.signal()
}

// Tags of the run, such as URIs.
func (l *Logger) Tags(tags map[string]string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.tags, tags)
	l.signal()
}

// Metric is a point of a curve. What is not finite is left out.
func (l *Logger) Metric(key string, step int64, at time.Time, value float64) {
	if l == nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.metrics) >= maxPending {
		l.metrics = slices.Delete(l.metrics, 0, 1+len(l.metrics)-maxPending)
		l.dropped++
	}
	l.metrics = append(l.metrics, metric{key, value, at.UnixMilli(), step})
	l.signal()
}

// Close says how the run ended, and waits a few seconds until everything is sent.
func (l *Logger) Close(ctx context.Context, status Status) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.status = status
	l.mu.Unlock()
	close(l.closing)
	ctx, cancel := context.WithTimeout(ctx, lastPatience)
	defer cancel()
	for l.waiting() && ctx.Err() == nil {
		l.signal()
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	l.stop()
	<-l.done
	if l.waiting() {
		l.log.Warn("MLflow does not have everything of this run", "server", l.client.base)
	}
}

func (l *Logger) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status != "" || len(l.params)+len(l.tags)+len(l.metrics) > 0
}

func (l *Logger) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// work sends what there is until ctx ends. After a failure it waits, longer each time, and tries again; the first one of
// a row is told.
func (l *Logger) work(ctx context.Context) {
	defer close(l.done)
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		err := l.send(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if failures > 0 {
				l.log.Info("MLflow answers again", "server", l.client.base, "droppedMetrics", l.takeDropped())
			}
			failures = 0
			continue
		}
		if failures == 0 {
			l.log.Warn("MLflow is not told of this run; the training goes on", "server", l.client.base, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.sleep(failures)):
		case <-l.closing:
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(time.Second, l.sleep(failures))):
			}
		}
		failures++
		l.signal()
	}
}

// backoff is 1, 2, 4 … 60 seconds.
func backoff(failures int) time.Duration {
	return time.Duration(min(60, 1<<min(failures, 6))) * time.Second
}

func (l *Logger) takeDropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.dropped
	l.dropped = 0
	return n
}

// Limits of a request of the REST API, and of a value, which older servers refuse beyond that.
const (
	maxMetrics = 1000
	maxParams  = 100
	maxValue   = 500
)

// send sends everything that waits. What the server refuses for good is dropped, and told.
func (l *Logger) send(ctx context.Context) error {
	if err := l.client.open(ctx, l.run); err != nil {
		return err
	}
	for {
		b := l.next()
		if b.empty() {
			return nil
		}
		var err error
		if b.status == "" {
			err = l.client.logBatch(ctx, b)
		} else {
			err = l.client.update(ctx, b.status)
		}
		if refused(err) {
			l.log.Warn("MLflow refuses a part of this run", "server", l.client.base, "error", err)
		} else if err != nil {
			return err
		}
		l.sent(b)
	}
}

// batch is what one request holds: values of one kind, or the status.
type batch struct {
	Params  []pair   `json:"params,omitempty"`
	Tags    []pair   `json:"tags,omitempty"`
	Metrics []metric `json:"metrics,omitempty"`
	status  Status
}

type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (b batch) empty() bool { return len(b.Params)+len(b.Tags)+len(b.Metrics) == 0 && b.status == "" }

// next is what to send now, the end of the run last.
func (l *Logger) next() (b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.params) > 0:
		b.Params = pairs(l.params)
	case len(l.tags) > 0:
		b.Tags = pairs(l.tags)
	case len(l.metrics) > 0:
		b.Metrics = slices.Clone(l.metrics[:min(maxMetrics, len(l.metrics))])
	default:
		b.status = l.status
	}
	return b
}

func pairs(values map[string]string) (all []pair) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if len(all) < maxParams {
			all = append(all, pair{key, contract.Shorten(values[key], maxValue)})
		}
	}
	return all
}

// sent forgets a batch, unless something newer has taken its place.
func (l *Logger) sent(b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	forget := func(values map[string]string, sent []pair) {
		for _, p := range sent {
			if contract.Shorten(values[p.Key], maxValue) == p.Value {
				delete(values, p.Key)
			}
		}
	}
	forget(l.params, b.Params)
	forget(l.tags, b.Tags)
	if n := len(b.Metrics); n > 0 {
		n = max(0, min(n, slices.Index(l.metrics, b.Metrics[n-1])+1)) // some may have been dropped in the meantime
		l.metrics = slices.Delete(l.metrics, 0, n)
	}
	if l.status == b.status {
		l.status = ""
	}
}

// clientFromEnvironment is nil if there is no server.
func clientFromEnvironment() (*client, error) {
	text := os.Getenv(envURI)
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, exit.Errorf(contract.ExitConfig, "%s is not the address of an MLflow server, such as "+
			"http://mlflow.mlflow:5000", envURI) // it may hold a password
	}
	c := &client{http: http.Client{Timeout: 15 * time.Second}, token: os.Getenv(envToken), user: os.Getenv(envUser),
		password: os.Getenv(envPassword)}
	if u.User != nil && c.user == "" {
		c.user = u.User.Username()
		c.password, _ = u.User.Password()
	}
	c.base = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).JoinPath("/").String()
	return c, nil
}
