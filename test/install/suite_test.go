package install

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/cmd"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const beHelm = "INSTALL_TEST_IS_HELM"

// One API server for all tests, which take turns.
var kubeconfig string

func TestMain(m *testing.M) {
	if os.Getenv(beHelm) != "" {
		root, err := cmd.NewRootCmd(os.Stdout, os.Args[1:], cmd.SetupLogging)
		if err != nil || root.Execute() != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	server := &envtest.Environment{}
	defer func() { _ = server.Stop() }() // also after half a start
	config, err := server.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the API server does not start; `make test-install` provides its binaries:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "install")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, server.KubeConfig, 0o600); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go endNamespaces(ctx, kubernetes.NewForConfigOrDie(config))
	return m.Run()
}

// endNamespaces plays the namespace controller.
func endNamespaces(ctx context.Context, c kubernetes.Interface) {
	for ctx.Err() == nil {
		list, err := c.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, ns := range list.Items {
			if ns.Status.Phase == corev1.NamespaceTerminating {
				ns.Spec.Finalizers = nil
				_, _ = c.CoreV1().Namespaces().Finalize(ctx, &ns, metav1.UpdateOptions{})
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// shell runs a script in the root of the repository, with kubectl and helm, and returns what it printed.
func shell(t *testing.T, script string, env ...string) (string, error) {
	t.Helper()
	helm := filepath.Join(t.TempDir(), "helm")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", beHelm, self)
	if err := os.WriteFile(helm, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	path := strings.Join([]string{filepath.Dir(helm), os.Getenv("KUBEBUILDER_ASSETS"), os.Getenv("PATH")}, ":")
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Dir = "../.."
	c.Env = append(os.Environ(), "PATH="+path, "KUBECONFIG="+kubeconfig, "HELM="+helm)
	c.Env = append(c.Env, env...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// must is the output of a script that has to succeed.
func must(t *testing.T, script string, env ...string) string {
	t.Helper()
	out, err := shell(t, script, env...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(out)
}

const job = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: net}
spec:
  dataset: {format: Synthetic}
  storage: {uri: s3://models}
`

// createJob returns its UID.
func createJob(t *testing.T, namespace string) string {
	t.Helper()
	must(t, `kubectl wait --for=condition=Established --timeout=20s crd/resnettrainingjobs.training.resnet-operator.dev`)
	must(t, fmt.Sprintf("kubectl create -n %s -f - <<'END'\n%s\nEND", namespace, job))
	return jobUID(t, namespace)
}

func jobUID(t *testing.T, namespace string) string {
	t.Helper()
	return must(t, `kubectl get resnetjob net -o jsonpath='{.metadata.uid}' -n `+namespace)
}

// removeAll leaves an empty cluster.
func removeAll(t *testing.T) {
	t.Helper()
	must(t, `hack/undeploy.sh manager && hack/undeploy.sh crd`, "DELETE_JOBS=yes")
}
