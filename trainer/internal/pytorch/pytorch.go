// Package pytorch lets tests ask PyTorch for the right numbers.
package pytorch

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

//go:embed peer.py
var script []byte

// Python is the interpreter that PyTorch is installed for: $PYTORCH, or that of Debian's python3-torch.
func Python() string { return cmp.Or(os.Getenv("PYTORCH"), "/usr/bin/python3") }

// Call runs a function of peer.py on tensors and parameters and returns its tensors. Without PyTorch the test fails;
// with -short it is skipped.
func Call(t testing.TB, function string, params map[string]any, in checkpoint.StateDict) checkpoint.StateDict {
	t.Helper()
	if testing.Short() {
		t.Skip("compares with PyTorch")
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	args, err := json.Marshal(params)
	must(t, err)
	encoded, err := checkpoint.EncodeSafetensors(in, nil)
	must(t, err)
	must(t, os.WriteFile(file("in"), encoded, 0o600))
	must(t, os.WriteFile(file("peer.py"), script, 0o600))
	python := Python()
	cmd := exec.Command(python, file("peer.py"), function, string(args), file("in"), file("out"))
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=2")
	if log, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s (make packages): %v\n%s", python, err, log)
	}
	encoded, err = os.ReadFile(file("out"))
	must(t, err)
	out, _, err := checkpoint.DecodeSafetensors(encoded)
	must(t, err)
	return out
}

// HasBFloat16 says whether convolutions in bfloat16 can be compared: libtorch asks oneDNN for them where the processor
// has AVX-512, and oneDNN refuses where the environment keeps it below that.
func HasBFloat16() bool {
	switch os.Getenv("ONEDNN_MAX_CPU_ISA") {
	case "SSE41", "AVX", "AVX2":
		return false
	}
	return true
}

// Precisions are those in which PyTorch computes what is compared: HasBFloat16 says whether bfloat16 is among them.
func Precisions() []string {
	if HasBFloat16() {
		return []string{"float64", "float32", "bfloat16"}
	}
	return []string{"float64", "float32"}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
