// Package readers lets tests open what the trainer writes in the Python programs of its users: TensorBoard, onnx and
// ONNX Runtime, as tools/readers lists them.
package readers

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/internal/installed"
)

// Folder of the virtual environment: $READERS. Without it the test is skipped, but not in CI.
func Folder(t testing.TB) string {
	t.Helper()
	return installed.Folder(t, "READERS")
}

// Run runs a script and returns what it prints.
func Run(t testing.TB, script string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(filepath.Join(Folder(t), "bin", "python"), append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, &stderr)
	}
	return out
}
