// Package readers lets tests open what the trainer writes in the Python programs of its users: TensorBoard, onnx and
// ONNX Runtime, as tools/readers lists them.
package readers

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Folder of the virtual environment: $READERS. Without it the test is skipped, but not in CI.
func Folder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("READERS")
	switch {
	case testing.Short():
		t.Skip("-short: runs Python")
	case dir == "" && os.Getenv("CI") != "":
		t.Fatal("READERS must name the folder of tools/readers' packages in CI")
	case dir == "":
		t.Skip("READERS is not set: use make test-unit")
	}
	return dir
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
