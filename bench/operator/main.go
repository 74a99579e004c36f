package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	ctrl "sigs.k8s.io/controller-runtime"
)

// options of a run.
type options struct {
	bin, profiles string
	jobs          []int
	live          int
	liveFor       time.Duration
	period        time.Duration
	keep          bool
	defaults      bool
}

const pprofAddr = "127.0.0.1:6061"

func main() {
	o := options{jobs: []int{1000, 5000}}
	flag.StringVar(&o.bin, "bin", "bin", "folder with kwok and manager")
	flag.Func("jobs", "how many jobs to create at full speed; several numbers separated by commas (default 1000,5000)", func(s string) error {
		o.jobs = nil
		for part := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no number of jobs", part)
			}
			if n > 0 {
				o.jobs = append(o.jobs, n)
			}
		}
		return nil
	})
	flag.IntVar(&o.live, "live", 2000, "how many jobs to keep running; 0 for none")
	flag.DurationVar(&o.liveFor, "live-for", 5*time.Minute, "how long to keep them running")
	flag.DurationVar(&o.period, "epoch", 20*time.Second, "length of an epoch of a running job")
	flag.StringVar(&o.profiles, "profile", "", "folder for CPU and heap profiles of the manager and the API server; none if not given")
	flag.BoolVar(&o.keep, "keep-logs", false, "keep the logs of all components")
	flag.BoolVar(&o.defaults, "default-limits", false, "run controllers and scheduler with their default limits (20 and 50 requests a second) rather than none that matters")
	flag.Parse()
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err := o.run(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	o.bin = bin
	t := &trainers{}
	t.reset(time.Second, jobEpochs)
	if err := t.listen(); err != nil {
		return err
	}
	if len(o.jobs) > 0 {
		fmt.Println("| jobs | plain Jobs/s | training jobs/s | of plain | plain: to pod, training: to child, p50 / p99 s | requests a job | CPU-ms a job of all components, plain / training | manager's RSS MiB before / at most / a 1,000 jobs |")
		fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	}
	for _, n := range o.jobs {
		if err := o.load(ctx, t, n); err != nil {
			return fmt.Errorf("%d jobs: %w", n, err)
		}
	}
	if o.live == 0 {
		return nil
	}
	return o.inCluster(time.Hour, func(c *cluster) error {
		t.reset(o.period, jobEpochs)
		manager, err := c.startManager(o.pprof())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, o.liveFor+10*time.Minute)
		defer cancel()
		defer o.profile("live", c.apiServer(), pprofOfManager)()
		return c.runLive(ctx, t, manager, o.live, o.liveFor)
	})
}

// load compares n plain Jobs and n training jobs with the same pods, each in a cluster of its own.
func (o options) load(ctx context.Context, t *trainers, n int) error {
	ofEach := time.Second / 10
	if o.defaults {
		ofEach = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute+time.Duration(n)*ofEach)
	defer cancel()
	const podLife = time.Second
	var child *batchv1.Job
	err := o.inCluster(podLife, func(c *cluster) (err error) {
		if _, err = c.startManager(""); err != nil {
			return err
		}
		child, err = c.template(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var plain time.Duration
	var toPod []time.Duration
	var plainCPU float64
	var plainList string
	err = o.inCluster(podLife, func(c *cluster) (err error) {
		before := cpuTimes()
		stop := o.profile(fmt.Sprintf("plain-%d", n), c.apiServer())
		plain, toPod, err = c.runPlain(ctx, child, n)
		plainCPU, plainList = cpuPerJob(before, n)
		stop()
		return err
	})
	if err != nil {
		return fmt.Errorf("plain Jobs: %w", err)
	}
	return o.inCluster(podLife, func(c *cluster) error {
		t.reset(time.Second, jobEpochs)
		manager, err := c.startManager(o.pprof())
		if err != nil {
			return err
		}
		before, cpu := manager.usage(), cpuTimes()
		stop := o.profile(strconv.Itoa(n), c.apiServer(), pprofOfManager)
		took, toChild, err := c.runOurs(ctx, n)
		after := manager.usage()
		ourCPU, ourList := cpuPerJob(cpu, n)
		stop()
		if err != nil {
			return err
		}
		counts, err := c.requests()
		if err != nil {
			return err
		}
		total, list := perJob(counts, n)
		rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
		seconds := func(d []time.Duration) string {
			return fmt.Sprintf("%.2f / %.2f", percentile(d, .5), percentile(d, .99))
		}
		fmt.Printf("| %d | %.1f | %.1f | %.0f %% | %s, %s | %.2f | %.1f / %.1f | %.0f / %.0f / %.1f |\n",
			n, rate(plain), rate(took), 100*rate(took)/rate(plain), seconds(toPod), seconds(toChild), total,
			plainCPU, ourCPU, before.rss, after.max, (after.max-before.rss)/float64(n)*1000)
		fmt.Printf("  requests a job: %s\n", list)
		fmt.Printf("  CPU-ms a plain Job: %s\n  CPU-ms a training job: %s\n", plainList, ourList)
		return nil
	})
}

// inCluster runs f in a fresh cluster, and keeps its logs only if something went wrong.
func (o options) inCluster(podLife time.Duration, f func(*cluster) error) error {
	dir, err := os.MkdirTemp("", "bench-operator-")
	if err != nil {
		return err
	}
	c, err := startCluster(o, dir, podLife)
	if err != nil {
		return fmt.Errorf("%w (logs in %s)", err, dir)
	}
	err = f(c)
	c.stop()
	if o.keep {
		fmt.Println("logs are in", dir)
		return err
	}
	if err != nil {
		return fmt.Errorf("%w (logs in %s)", err, dir)
	}
	return os.RemoveAll(dir)
}

func (o options) pprof() string {
	if o.profiles == "" {
		return ""
	}
	return pprofAddr
}

// profiled is a component with /debug/pprof.
type profiled struct {
	name, url string
	http      *http.Client
}

var pprofOfManager = profiled{"manager", "http://" + pprofAddr, http.DefaultClient}

// apiServer as the administrator sees it.
func (c *cluster) apiServer() profiled {
	return profiled{"apiserver", strings.TrimSuffix(c.config.Host, "/"), c.http}
}

// profile records the CPU of components for up to 30 s from now, and the heap of them when the returned function is
// called.
func (o options) profile(name string, components ...profiled) (done func()) {
	if o.profiles == "" {
		return func() {}
	}
	fetch := func(p profiled, kind, query string) {
		resp, err := p.http.Get(p.url + "/debug/pprof/" + kind + query)
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			fmt.Fprintln(os.Stderr, "profile:", resp.Request.URL, resp.Status)
			return
		}
		file, err := os.Create(filepath.Join(o.profiles, name+"."+p.name+"."+kind+".pprof"))
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
			return
		}
		defer file.Close()
		_, _ = io.Copy(file, resp.Body)
	}
	var cpu sync.WaitGroup
	for _, p := range components {
		cpu.Go(func() { fetch(p, "profile", "?seconds=30") })
	}
	return func() {
		for _, p := range components {
			fetch(p, "heap", "")
		}
		cpu.Wait()
	}
}
