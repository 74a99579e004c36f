//go:build cuda

package libtorch_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// TestKernelsCompile compiles all kernels with the very NVRTC, for GPUs that there are and one that there will be.
func TestKernelsCompile(t *testing.T) {
	for capability, want := range map[int]string{
		80: "sm_80", 86: "sm_86", 89: "sm_89", 90: "sm_90", 100: "sm_100", 120: "sm_120", // A100, A10, L4, H100, B200, RTX 50
		990: "compute_",
	} {
		code, arch, err := libtorch.CompileKernels(capability)
		if err != nil || !strings.HasPrefix(arch, "--gpu-architecture="+want) {
			t.Errorf("%d: compiled with %q: %v", capability, arch, err)
			continue
		}
		if machine := bytes.HasPrefix(code, []byte("\x7fELF")); machine != (capability != 990) {
			t.Errorf("%d: machine code: %t", capability, machine)
		}
		for _, name := range kernelNames(t) {
			if !bytes.Contains(code, []byte(name)) {
				t.Errorf("%d: there is no %s", capability, name)
			}
		}
	}
}

// kernelNames are those of all kernels.
func kernelNames(t *testing.T) (all []string) {
	files, err := filepath.Glob("internal/device/cuda/*.cu")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^KERNEL(S?)\((\w+),`).FindAllSubmatch(text, -1) {
			if len(m[1]) == 0 {
				all = append(all, string(m[2]))
				continue
			}
			for _, memory := range []string{"_float", "_half", "_bfloat16"} {
				all = append(all, string(m[2])+memory)
			}
		}
	}
	if len(all) < 15 {
		t.Fatalf("found %d kernels only: %q", len(all), all)
	}
	return all
}

// TestKernelsRefuseOldGPUs: CUDA 13 has no compiler for them.
func TestKernelsRefuseOldGPUs(t *testing.T) {
	if _, _, err := libtorch.CompileKernels(20); err == nil || !strings.Contains(err.Error(), "no GPU of compute capability 2.0") {
		t.Errorf("got %v", err)
	}
}
