// Package kueue tests the manager beside the real Kueue, Job controller and garbage collector; the tests play the
// kubelet. `make test-kueue` builds what it needs.
package kueue

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers"
)

var (
	kube   client.Client
	config *rest.Config
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "`make test-kueue` provides what this test needs:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	source, binary := os.Getenv("KUEUE_SOURCE"), os.Getenv("KUEUE_BIN")
	dir, err := os.MkdirTemp("", "kueue-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{"../../config/crd"},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{filepath.Join(source, "config/components/webhook/manifests.yaml")}},
	}
	env.ControlPlane.GetAPIServer().Configure().Set("disable-admission-plugins", "ServiceAccount", "TaintNodesByCondition")
	defer func() { _ = env.Stop() }()
	if config, err = env.Start(); err != nil {
		return 1, err
	}
	if err := installQueues(env, source); err != nil {
		return 1, err
	}
	if err := v1.AddToScheme(scheme.Scheme); err != nil {
		return 1, err
	}
	if kube, err = client.New(config, client.Options{Scheme: scheme.Scheme}); err != nil {
		return 1, err
	}
	stop, err := startAll(env, dir, binary)
	defer stop()
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// installQueues installs Kueue's CRDs, with Kueue as the webhook that converts between their versions.
func installQueues(env *envtest.Environment, source string) error {
	files, err := filepath.Glob(filepath.Join(source, "config/components/crd/bases/*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in %q", source)
	}
	patches, err := os.ReadFile(filepath.Join(source, "config/components/crd/kustomization.yaml"))
	if err != nil {
		return err
	}
	hook := &env.WebhookInstallOptions
	url := fmt.Sprintf("https://%s/convert", net.JoinHostPort(hook.LocalServingHost, strconv.Itoa(hook.LocalServingPort)))
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(text, crd); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		// The patches that an installation of Kueue applies.
		if bytes.Contains(patches, []byte("\n- path: patches/webhook_in_"+crd.Spec.Names.Plural+".yaml")) {
			crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{
				Strategy: apiextensionsv1.WebhookConverter,
				Webhook: &apiextensionsv1.WebhookConversion{
					ClientConfig:             &apiextensionsv1.WebhookClientConfig{URL: &url, CABundle: hook.LocalServingCAData},
					ConversionReviewVersions: []string{"v1"},
				},
			}
		}
		crds = append(crds, crd)
	}
	_, err = envtest.InstallCRDs(config, envtest.CRDInstallOptions{CRDs: crds})
	return err
}

const kueueConfig = `
apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
namespace: kueue-system
health: {healthProbeBindAddress: "%s"}
metrics: {bindAddress: "0"}
webhook: {host: "%s", port: %d, certDir: "%s"}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
clientConnection: {qps: 500, burst: 1000}
integrations: {frameworks: [batch/job]}
`

// startAll starts Kueue, the Job controller and our manager.
func startAll(env *envtest.Environment, dir, kueue string) (stop func(), err error) {
	var procs []*exec.Cmd
	ctx, cancel := context.WithCancel(context.Background())
	stop = func() {
		cancel()
		for _, p := range procs {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	}
	start := func(path string, args ...string) error {
		log, err := os.Create(filepath.Join(dir, filepath.Base(path)+".log"))
		if err != nil {
			return err
		}
		p := exec.Command(path, args...)
		p.Stdout, p.Stderr = log, log
		if os.Getenv("KUEUE_VERBOSE") != "" {
			p.Stdout, p.Stderr = os.Stderr, os.Stderr
		}
		p.Env = append(os.Environ(), "KUEUE_METRICS_CERTS="+env.WebhookInstallOptions.LocalServingCertDir)
		p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := p.Start(); err != nil {
			return err
		}
		procs = append(procs, p)
		return nil
	}
	admin, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return stop, err
	}
	text, err := admin.KubeConfig()
	if err != nil {
		return stop, err
	}
	kubeconfig, configFile, probes := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "kueue.yaml"), freeAddr()
	hook := env.WebhookInstallOptions
	settings := fmt.Sprintf(kueueConfig, probes, hook.LocalServingHost, hook.LocalServingPort, hook.LocalServingCertDir)
	for path, text := range map[string][]byte{kubeconfig: text, configFile: []byte(settings)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return stop, err
		}
	}
	if err := start(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-controller-manager"), "--kubeconfig="+kubeconfig,
		"--leader-elect=false", "--secure-port=0", "--controllers=job-controller,garbage-collector-controller"); err != nil {
		return stop, err
	}
	if err := start(kueue, "--kubeconfig="+kubeconfig, "--config="+configFile, "--feature-gates=VisibilityOnDemand=false"); err != nil {
		return stop, err
	}
	if err := ready("http://" + probes + "/readyz"); err != nil {
		return stop, fmt.Errorf("kueue: %w", err)
	}
	mgr, err := controllers.NewManager(config, controllers.Options{TrainerImage: "trainer:1", MetricsAddr: "0", ProbeAddr: "0", Concurrency: 4})
	if err != nil {
		return stop, err
	}
	go func() { _ = mgr.Start(ctx) }()
	return stop, nil
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// patience is for a machine that does other things as well.
const patience = 40 * time.Second
