package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// Options of the manager.
type Options struct {
	// TrainerImage for jobs that name no image.
	TrainerImage string
	// TrainerCUDAImage for those of them with GPUs; TrainerImage if empty.
	TrainerCUDAImage string
	// PlatformAssignsUser leaves user and groups of pods unset where the job does not set them, as OpenShift wants.
	PlatformAssignsUser bool
	// Namespace to work in; "" for all. With it, the manager needs no rights beyond a Role in it. It is one, because reads
	// that wait for the manager's own writes do not work with a cache of several (client.CacheOptions).
	Namespace string
	// MetricsAddr of /metrics over HTTPS, for clients that may GET /metrics; "0" for none.
	MetricsAddr string
	// ProbeAddr of /healthz and /readyz; "0" for none.
	ProbeAddr string
	// PprofAddr of /debug/pprof, on a loopback address; "" for none.
	PprofAddr string
	// LeaderElection lets only one of several managers work at a time.
	LeaderElection bool
	// LeaderElectionNamespace holds the Lease; "" for the namespace of the manager's own pod.
	LeaderElectionNamespace string
	// Concurrency is the number of jobs that are reconciled at a time.
	Concurrency int
	// QPS is the number of requests a second that the manager allows itself, with bursts up to Burst; 0 for no limit
	// of its own: the API server's priority and fairness limits it.
	QPS   float64
	Burst int

	// Registry takes the metrics; nil for the one that MetricsAddr serves.
	Registry prometheus.Registerer
	// SkipNameValidation allows more than one manager in a process (tests).
	SkipNameValidation bool
	// DialPod connects to a trainer, where pods have no addresses of their own (tests). Default: net.Dialer.
	DialPod func(ctx context.Context, network, address string) (net.Conn, error)

	clock *serverClock
}

// NewManager returns a manager with the controller in it, ready to start.
func NewManager(cfg *rest.Config, o Options) (ctrl.Manager, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.clock = &serverClock{own: clock.RealClock{}}
	mgr, err := ctrl.NewManager(o.limit(cfg), o.manager())
	if err != nil {
		return nil, err
	}
	versions, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, err
	}
	if err := checkVersion(versions); err != nil {
		return nil, err
	}
	r := &Reconciler{
		Client:      mgr.GetClient(),
		APIReader:   mgr.GetAPIReader(),
		Recorder:    mgr.GetEventRecorder("resnet-operator"),
		Clock:       o.clock,
		Defaults:    childjob.Defaults{Image: o.TrainerImage, CUDAImage: o.TrainerCUDAImage, NoUser: o.PlatformAssignsUser},
		Concurrency: o.Concurrency,
		DialPod:     o.DialPod,
		Registry:    o.Registry,
	}
	if r.Registry == nil {
		r.Registry = ctrlmetrics.Registry
	}
	if err := r.SetupWithManager(mgr); err != nil {
		return nil, fmt.Errorf("set up the controller: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("cache", cacheSynced(mgr.GetCache()))
}

// validate names the flag that is wrong.
func (o Options) validate() error {
	if o.Concurrency < 1 {
		return fmt.Errorf("--max-concurrent-reconciles: is %d, must be at least 1", o.Concurrency)
	}
	if o.QPS < 0 || o.Burst < 0 {
		return errors.New("--kube-api-qps and --kube-api-burst: must not be negative; 0 means no limit")
	}
	if o.QPS > 0 && o.Burst < 1 {
		return errors.New("--kube-api-burst: must be at least 1 with --kube-api-qps")
	}
	if strings.Contains(o.Namespace, ",") {
		return fmt.Errorf("--namespace: is %q, and must be one namespace: install a manager in each of them, or one for all",
			o.Namespace)
	}
	if wrong := validation.IsDNS1123Label(o.Namespace); wrong != nil && o.Namespace != "" {
		return fmt.Errorf("--namespace: %q is no name of a namespace: %s", o.Namespace, strings.Join(wrong, "; "))
	}
	if o.PprofAddr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(o.PprofAddr)
	if err != nil {
		return fmt.Errorf("--pprof-bind-address: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--pprof-bind-address: %q is open to others; use 127.0.0.1:PORT and kubectl port-forward",
			o.PprofAddr)
	}
	return nil
}

// limit sets how fast the manager may ask the API server, and lets it learn the time there. client-go's own default, 5
// requests a second, would let 2 jobs start in a second.
func (o Options) limit(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = float32(o.QPS), o.Burst
	if o.QPS == 0 {
		cfg.QPS = -1
	}
	if o.clock != nil {
		cfg.Wrap(o.clock.wrap)
	}
	return cfg
}

// shutdownTimeout is what reconciles that are under way get to finish; less than the Deployment's grace period, so that
// the Lease is given back before the pod is killed.
const shutdownTimeout = 8 * time.Second

func (o Options) manager() ctrl.Options {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1.AddToScheme(scheme))
	return ctrl.Options{
		Scheme:     scheme,
		Cache:      o.cache(),
		Client:     client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
		Controller: config.Controller{SkipNameValidation: &o.SkipNameValidation},
		Metrics: metricsserver.Options{
			BindAddress:    o.MetricsAddr,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
			TLSOpts:        []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }},
		},
		HealthProbeBindAddress:        o.ProbeAddr,
		PprofBindAddress:              o.PprofAddr,
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              "resnet-operator",
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends with the manager, so that nothing goes on without the Lease
		GracefulShutdownTimeout:       ptr.To(shutdownTimeout),
	}
}

// cache keeps, of the whole cluster or of the namespace, only what is ours.
func (o Options) cache() cache.Options {
	c := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1.ResNetTrainingJob{}: {Transform: trim},
			&batchv1.Job{}:          {Label: childjob.Selector(), Transform: trim},
			&corev1.Pod{}:           {Label: childjob.Selector(), Transform: trim},
		},
	}
	if o.Namespace != "" {
		c.DefaultNamespaces = map[string]cache.Config{o.Namespace: {}}
	}
	return c
}

// cacheSynced is ready once everything that is to be watched has been read.
func cacheSynced(c cache.Cache) healthz.Checker {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), 500*time.Millisecond)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("the cache is not filled yet")
		}
		return nil
	}
}
