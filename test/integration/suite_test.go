// Package integration tests the manager against a real API server and etcd. There is no Job controller and no
// kubelet: the tests play their part.
package integration

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers"
)

// One API server for all tests; each test has a namespace and, if it needs one, a manager of its own.
var (
	config *rest.Config
	kube   client.Client
	server *envtest.Environment
)

func TestMain(m *testing.M) {
	if flags := os.Getenv(managerFlags); flags != "" { // startProcess runs this executable as a manager
		os.Exit(beManager(flags))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	server = &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd"}, ErrorIfCRDPathMissing: true}
	defer func() { _ = server.Stop() }() // also after half a start
	var err error
	if config, err = server.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "the API server does not start; `make test-integration` provides its binaries:", err)
		return 1
	}
	if err := v1.AddToScheme(scheme.Scheme); err != nil {
		panic(err)
	}
	if kube, err = client.New(config, client.Options{Scheme: scheme.Scheme}); err != nil {
		panic(err)
	}
	return m.Run()
}

// requests counts the writes that a manager sends to the API server: those for the namespace of its test, and for each.
// It counts lists of events, by namespace, as well.
type requests struct {
	namespace string
	writes    atomic.Int32
	next      http.RoundTripper

	mu     sync.Mutex
	each   map[string]int
	events map[string]int
}

func (r *requests) eventLists(namespace string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[namespace]
}

func (r *requests) of(namespace string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.each[namespace]
}

func (r *requests) RoundTrip(req *http.Request) (*http.Response, error) {
	_, rest, _ := strings.Cut(req.URL.Path, "/namespaces/")
	namespace, resource, _ := strings.Cut(rest, "/")
	r.mu.Lock()
	switch {
	case namespace == "":
	case req.Method != http.MethodGet:
		if namespace == r.namespace {
			r.writes.Add(1)
		}
		r.each[namespace]++
	case resource == "events":
		r.events[namespace]++
	}
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

// startManager runs a manager until the test ends or stop is called.
func (e *env) startManager() (count *requests, stop func()) {
	e.t.Helper()
	count = &requests{namespace: e.ns, each: map[string]int{}, events: map[string]int{}}
	cfg := rest.CopyConfig(config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { count.next = next; return count })
	return count, e.run(cfg, controllers.Options{
		TrainerImage: "trainer:default", MetricsAddr: "0", ProbeAddr: "0", Concurrency: 4,
		Registry: prometheus.NewRegistry(), SkipNameValidation: true, DialPod: dialPod,
	})
}

// run runs a manager until the test ends or stop is called.
func (e *env) run(cfg *rest.Config, o controllers.Options) (stop func()) {
	t := e.t
	t.Helper()
	mgr, err := controllers.NewManager(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the manager ended with: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the manager does not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}
