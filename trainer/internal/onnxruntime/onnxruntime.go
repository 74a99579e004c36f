// Package onnxruntime lets tests run exported models as their users do, by the scripts of tools/onnxruntime.
package onnxruntime

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/internal/installed"
)

// Folder of tools/onnxruntime, installed: $ONNXRUNTIME. Without it the test is skipped, but not in CI.
func Folder(t testing.TB) string {
	t.Helper()
	return installed.Folder(t, "ONNXRUNTIME")
}

// Run runs a script of the folder.
func Run(t testing.TB, script string, args ...string) {
	t.Helper()
	RunOn(t, "node", script, args...)
}

// RunOn is Run by a program in place of node, such as those of hack/processors.sh.
func RunOn(t testing.TB, node, script string, args ...string) {
	t.Helper()
	args = append([]string{filepath.Join(Folder(t), script)}, args...)
	if log, err := exec.Command(node, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s (make packages): %v\n%s", node, err, log)
	}
}
