package controllers

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Options of the manager.
type Options struct {
	// TrainerImage for jobs that name no image.
	TrainerImage string
	// MetricsAddr of /metrics over HTTPS, for clients that may GET /metrics; "0" for none.
	MetricsAddr string
	// ProbeAddr of /healthz and /readyz; "0" for none.
	ProbeAddr string
	// LeaderElection lets only one of several managers work at a time.
	LeaderElection bool
	// Concurrency is the number of jobs that are reconciled at a time.
	Concurrency int
	// SkipNameValidation allows more than one manager in a process (tests).
	SkipNameValidation bool
	// DialPod connects to a trainer, where pods have no addresses of their own (tests). Default: net.Dialer.
	DialPod func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewManager returns a manager with the controller in it, ready to start.
func NewManager(cfg *rest.Config, o Options) (ctrl.Manager, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // the API server's priority and fairness limits us; a second limiter only delays

	mgr, err := ctrl.NewManager(cfg, o.manager())
	if err != nil {
		return nil, err
	}
	r := &Reconciler{
		Client:       mgr.GetClient(),
		APIReader:    mgr.GetAPIReader(),
		Recorder:     mgr.GetEventRecorder("resnet-operator"),
		TrainerImage: o.TrainerImage,
		Concurrency:  o.Concurrency,
		DialPod:      o.DialPod,
	}
	if err := r.SetupWithManager(mgr); err != nil {
		return nil, fmt.Errorf("set up the controller: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
}

func (o Options) manager() ctrl.Options {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1.AddToScheme(scheme))
	return ctrl.Options{
		Scheme: scheme,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{ // of the whole cluster, keep only what is ours
				&batchv1.Job{}: {Label: Selector()},
				&corev1.Pod{}:  {Label: Selector()},
				// Why a Job has no pod is told in an event only.
				&corev1.Event{}: {Field: fields.Set{"involvedObject.kind": "Job", "reason": "FailedCreate"}.AsSelector()},
			},
		},
		Client:     client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
		Controller: config.Controller{SkipNameValidation: &o.SkipNameValidation},
		Metrics: metricsserver.Options{
			BindAddress:    o.MetricsAddr,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
			TLSOpts:        []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }},
		},
		HealthProbeBindAddress:        o.ProbeAddr,
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              "resnet-operator",
		LeaderElectionReleaseOnCancel: true,
	}
}
