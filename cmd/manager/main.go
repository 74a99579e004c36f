// Command manager is the operator: it reconciles ResNetTrainingJobs.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers"
)

// options are the flags.
type options struct {
	trainerImage   string
	metricsAddr    string
	probeAddr      string
	leaderElection bool
	concurrency    int
	verbose        bool
}

func main() {
	var o options
	flag.StringVar(&o.trainerImage, "trainer-image", "resnet-operator/trainer:dev", "image of the trainer for jobs that name none")
	flag.StringVar(&o.metricsAddr, "metrics-bind-address", ":8443", "address of /metrics over HTTPS, for clients that may GET /metrics; 0 turns it off")
	flag.StringVar(&o.probeAddr, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 turns it off")
	flag.BoolVar(&o.leaderElection, "leader-elect", false, "let only one of several managers work at a time")
	flag.IntVar(&o.concurrency, "max-concurrent-reconciles", 16, "number of jobs that are reconciled at a time")
	flag.BoolVar(&o.verbose, "verbose", false, "log every step of the machinery")
	flag.Parse()

	logger := setUpLogs(o.verbose)
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

func run(o options) error {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1.AddToScheme(scheme))

	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no cluster to work for: %w", err)
	}
	config.QPS = -1 // the API server's own priority and fairness limits us; a second limiter only delays

	mgr, err := ctrl.NewManager(config, managerOptions(o, scheme))
	if err != nil {
		return err
	}
	r := &controllers.Reconciler{
		Client:       mgr.GetClient(),
		APIReader:    mgr.GetAPIReader(),
		Recorder:     mgr.GetEventRecorder("resnet-operator"),
		TrainerImage: o.trainerImage,
		Concurrency:  o.concurrency,
	}
	if err := r.SetupWithManager(mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

func managerOptions(o options, scheme *runtime.Scheme) ctrl.Options {
	ours := controllers.Selector()
	return ctrl.Options{
		Scheme: scheme,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{ // of the whole cluster, keep only what is ours
				&batchv1.Job{}: {Label: ours},
				&corev1.Pod{}:  {Label: ours},
			},
		},
		Client: client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
		Metrics: metricsserver.Options{
			BindAddress:    o.metricsAddr,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
			TLSOpts:        []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }},
		},
		HealthProbeBindAddress:        o.probeAddr,
		LeaderElection:                o.leaderElection,
		LeaderElectionID:              "resnet-operator",
		LeaderElectionReleaseOnCancel: true,
	}
}
