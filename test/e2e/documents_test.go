package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/test/documents"
)

// TestFirstJob runs the commands of docs/first-job.md, as a user whose namespace is that of the tests. In place of a default
// StorageClass there is one volume, a folder of this machine.
func TestFirstJob(t *testing.T) {
	pages, err := documents.Commands("../..", "cluster")
	if err != nil || len(pages) != 1 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	folder, home := forPods(t), t.TempDir()
	createUntilTheEnd(t, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "e2e-models"}, Spec: corev1.PersistentVolumeSpec{
		Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		ClaimRef:               &corev1.ObjectReference{Namespace: namespace, Name: "models"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}},
	}})
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	run := func(commands string) string {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
		if _, err := os.Stat(filepath.Join(home, "kubeconfig")); err == nil {
			cmd.Env = append(cmd.Env, "KUBECONFIG="+filepath.Join(home, "kubeconfig"))
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, commands, out)
		}
		return string(out)
	}
	run(`kubectl config view --raw --minify --flatten >new && mv new kubeconfig && ln -s ` + filepath.Join(root, "config") + ` config`)
	run(`kubectl config set-context --current --namespace ` + namespace)
	for page, blocks := range pages {
		for _, b := range blocks {
			out := run(b.Text)
			t.Logf("%s:%d:\n%s%s", page, b.Line, b.Text, out)
			if strings.Contains(out, "UnhandledError") {
				t.Errorf("%s:%d: the log of a library is shown", page, b.Line)
			}
		}
	}
	for _, file := range []string{"first/model.onnx", "first/model.json", "first-report/report.html"} {
		if _, err := os.Stat(filepath.Join(home, file)); err != nil {
			t.Error(err)
		}
	}
	if out := run(`kubectl get pods -l app.kubernetes.io/name=resnet-reader -o name`); out != "" {
		t.Errorf("readers are left: %s", out)
	}
}
