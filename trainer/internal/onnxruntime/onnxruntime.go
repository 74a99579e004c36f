// Package onnxruntime lets tests run exported models as their users do, by the scripts of tools/onnxruntime.
package onnxruntime

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Folder of tools/onnxruntime, installed: $ONNXRUNTIME. Without it the test is skipped, but not in CI.
func Folder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ONNXRUNTIME")
	switch {
	case testing.Short():
		t.Skip("-short: compares with ONNX Runtime")
	case dir == "" && os.Getenv("CI") != "":
		t.Fatal("ONNXRUNTIME must name the folder of ONNX Runtime in CI")
	case dir == "":
		t.Skip("ONNXRUNTIME is not set: use make test, or make bin/onnxruntime and set it to that folder")
	}
	return dir
}

// Run runs a script of the folder.
func Run(t testing.TB, script string, args ...string) {
	t.Helper()
	args = append([]string{filepath.Join(Folder(t), script)}, args...)
	if log, err := exec.Command("node", args...).CombinedOutput(); err != nil {
		t.Fatalf("node (make packages): %v\n%s", err, log)
	}
}
