package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakes stand for every program that `make demo` runs, write down how they were called, and answer as those of a job that
// succeeds.
const fakes = `#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
dpkg-query*) echo installed dataset-fashion-mnist, ;;
"kubectl get nodes"*) echo 192.0.2.1 ;;
"kubectl -n minio get secret"*) echo eA== ;;
*status.state*) echo Succeeded ;;
*progress.accuracy*) echo "$ACCURACY" ;;
*artifacts.uri*) echo s3://models/x ;;
"kubectl kustomize"*) echo "kind: List" ;;
*-f\ -) cat >/dev/null ;;
esac
`

// TestDemoOnKind runs `make demo CLUSTER=kind` as a user without KUBECONFIG. kind and docker themselves were not there to try it.
func TestDemoOnKind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"cluster", "kind", "docker", "kubectl", "s5cmd", "dpkg-query", "apt-get"} {
		if err := writeFile(filepath.Join(dir, "bin", name), fakes); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "bin", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	demo := func(accuracy string) (string, error) {
		cmd := exec.Command("make", "-C", "../..", "demo", "CLUSTER=kind", "CLUSTER_DIR="+dir)
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KUBECONFIG=") }),
			"PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "CALLS="+filepath.Join(dir, "calls"), "ACCURACY="+accuracy)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := demo("0.87")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"1 of 5: Kubernetes and MinIO", "5 of 5: training", "make cluster-down CLUSTER=kind"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kind create cluster", "kind load image-archive", "docker build --target trainer", "kind load docker-image",
		"kubectl apply -f config/samples/fashion-mnist-quick.yaml"} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("no %q in\n%s", want, calls)
		}
	}
	if strings.Contains(string(calls), "apt-get") {
		t.Error("kind needs no Debian packages but the data set's")
	}
	out, err = demo("0.5")
	if err == nil || !strings.Contains(out, "test accuracy is 0.5, expected more than 0.8") || !strings.Contains(out, "training, ") {
		t.Errorf("%v\n%s", err, out)
	}
}
