// Command manager is the operator: it reconciles ResNetTrainingJobs. `manager wait JOB` waits for the end of one.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/resnet-operator/resnet-operator/controllers"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "wait" {
		os.Exit(runWait(os.Args[2:]))
	}
	var o controllers.Options
	verbose := declare(flag.CommandLine, &o)
	flag.Parse()
	logger := setUpLogs(*verbose)
	if flag.NArg() > 0 {
		logger.Error("the manager takes flags only, or the word wait first; --help lists them", "argument", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(o); err != nil {
		logger.Error("the manager stopped", "error", err)
		os.Exit(1)
	}
}

// declare declares the flags.
func declare(f *flag.FlagSet, o *controllers.Options) (verbose *bool) {
	f.StringVar(&o.TrainerImage, "trainer-image", "resnet-operator/trainer:dev", "image of the trainer for jobs that name none")
	f.StringVar(&o.TrainerCUDAImage, "trainer-cuda-image", "", "image of the trainer for jobs with GPUs that name none; that of --trainer-image if not given")
	f.Func("namespace", "the one namespace to work in; all if not given. The rights of a Role in it are enough then", func(s string) error {
		if s == "" { // a variable that is not set must not open the whole cluster
			return errors.New("is empty")
		}
		o.Namespace = s
		return nil
	})
	f.BoolVar(&o.PlatformAssignsUser, "platform-assigns-user", false, "leave user and groups of pods unset where a job does not set them, as OpenShift wants")
	f.StringVar(&o.MetricsAddr, "metrics-bind-address", ":8443", "address of /metrics over HTTPS, for clients that may GET /metrics; 0 turns it off")
	f.BoolVar(&o.Page, "page", false, "show jobs in a browser: /jobs at --metrics-bind-address, for clients that may GET /jobs")
	f.StringVar(&o.ProbeAddr, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 turns it off")
	f.StringVar(&o.PprofAddr, "pprof-bind-address", "", "loopback address of /debug/pprof, such as 127.0.0.1:6060; off if not given")
	f.BoolVar(&o.LeaderElection, "leader-elect", false, "let only one of several managers work at a time")
	f.StringVar(&o.LeaderElectionNamespace, "leader-elect-namespace", "", "namespace of the Lease; that of the manager's pod if not given")
	f.IntVar(&o.Concurrency, "max-concurrent-reconciles", 64, "number of jobs that are reconciled at a time")
	f.Float64Var(&o.QPS, "kube-api-qps", 0, "requests a second that the manager sends to the API server; 0 leaves the limit to the API server's priority and fairness")
	f.IntVar(&o.Burst, "kube-api-burst", 0, "requests that may exceed --kube-api-qps for a moment")
	return f.Bool("verbose", false, "log every step of the machinery")
}

// setUpLogs sends the logs of everything to one JSON handler on stderr.
func setUpLogs(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetLogger(logr.FromSlogHandler(handler))
	return slog.New(handler)
}

func run(o controllers.Options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no cluster to work for: %w", err)
	}
	mgr, err := controllers.NewManager(config, o)
	if err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}
