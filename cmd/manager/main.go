// Command manager is the operator: it reconciles ResNetTrainingJobs.
package main

import (
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
	var o controllers.Options
	flag.StringVar(&o.TrainerImage, "trainer-image", "resnet-operator/trainer:dev", "image of the trainer for jobs that name none")
	flag.StringVar(&o.MetricsAddr, "metrics-bind-address", ":8443", "address of /metrics over HTTPS, for clients that may GET /metrics; 0 turns it off")
	flag.StringVar(&o.ProbeAddr, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 turns it off")
	flag.BoolVar(&o.LeaderElection, "leader-elect", false, "let only one of several managers work at a time")
	flag.IntVar(&o.Concurrency, "max-concurrent-reconciles", 16, "number of jobs that are reconciled at a time")
	verbose := flag.Bool("verbose", false, "log every step of the machinery")
	flag.Parse()

	logger := setUpLogs(*verbose)
	if err := run(o); err != nil {
		logger.Error("the manager stopped", "error", err)
		os.Exit(1)
	}
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
