package export

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// TestReadWhatPyTorchSaves reads files that torch.save wrote in many ways, and says of the others what is wrong.
func TestReadWhatPyTorchSaves(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: needs PyTorch")
	}
	dir := t.TempDir()
	peer(t, "write", dir)
	read := func(name string) (checkpoint.StateDict, error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		return ReadWeights(data)
	}
	want, err := read("expected.safetensors")
	must(t, err)
	m := randomModel(t, model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 3, 8)
	m.State = want
	must(t, m.Check())
	tolerance := map[string]float64{"half": 1e-3, "bfloat16": 1e-2}
	for _, name := range []string{"plain", "parameters", "protocol4", "views", "channels_last", "transposed", "double", "half", "bfloat16",
		"int32", "state_dict", "model", "module", "compiled", "kuangliu", "old"} {
		t.Run(name, func(t *testing.T) {
			got, err := read(name + ".pt")
			must(t, err)
			expected := want
			switch name {
			case "int32":
				expected = withCounters(want, 1234567)
			case "old":
				expected = withCounters(want, 0)
			}
			compareStates(t, got, expected, tolerance[name])
		})
	}
	for name, message := range map[string]string{
		"bad_module":   `"torchvision.models.resnet.ResNet", which is no part of a state dict`,
		"bad_list":     "it holds no dict: save model.state_dict()",
		"bad_numpy":    `core.multiarray.scalar", which is no part of a state dict and is not run`,
		"bad_nothing":  `key "epoch" holds no tensor`,
		"bad_sparse":   `"torch._utils._rebuild_sparse_tensor"`,
		"bad_expanded": `tensor "w": shape [1099511627776], strides [0]`,
		"bad_complex":  `"torch.ComplexFloatStorage"`,
		"bad_legacy":   "written by PyTorch before 1.6",
		"bad_script":   "TorchScript program",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := read(name + ".pt"); err == nil || !strings.Contains(err.Error(), message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %s", err, message)
			}
		})
	}
}

// withCounters is d with every num_batches_tracked at n.
func withCounters(d checkpoint.StateDict, n uint64) checkpoint.StateDict {
	out := checkpoint.StateDict{}
	for name, t := range d {
		if t.DType == "I64" {
			t.Data = binary.LittleEndian.AppendUint64(nil, n)
		}
		out[name] = t
	}
	return out
}

// compareStates allows floats to differ by a share of their size; 0 means not at all.
func compareStates(t *testing.T, got, want checkpoint.StateDict, tolerance float64) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Fatalf("keys (-want +got):\n%s", diff)
	}
	for name, w := range want {
		g := got[name]
		switch {
		case g.DType != w.DType || !slices.Equal(g.Shape, w.Shape):
			t.Errorf("%s is %s%v, want %s%v", name, g.DType, g.Shape, w.DType, w.Shape)
		case tolerance == 0 || w.DType != "F32":
			if !bytes.Equal(g.Data, w.Data) {
				t.Errorf("%s differs", name)
			}
		default:
			gs := floatsOf(g.Data)
			for i, v := range floatsOf(w.Data) {
				if math.Abs(gs[i]-v) > tolerance*math.Abs(v)+1e-7 {
					t.Fatalf("%s[%d] is %g, want %g", name, i, gs[i], v)
				}
			}
		}
	}
}

func TestReadOurOwn(t *testing.T) {
	m := randomModel(t, model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 3, 8)
	var pt bytes.Buffer
	must(t, PT(&pt, m))
	got, err := ReadWeights(pt.Bytes())
	must(t, err)
	compareStates(t, got, m.State, 0)
	st, err := Safetensors(m)
	must(t, err)
	got, err = ReadWeights(st)
	must(t, err)
	compareStates(t, got, m.State, 0)
}

// TestHalfToFloat checks every half against its definition.
func TestHalfToFloat(t *testing.T) {
	for h := range 1 << 16 {
		exponent, fraction := h>>10&0x1f, float64(h&0x3ff)
		var want float64
		switch {
		case exponent == 0x1f && fraction != 0:
			want = math.NaN()
		case exponent == 0x1f:
			want = math.Inf(1)
		case exponent == 0:
			want = math.Ldexp(fraction, -24)
		default:
			want = math.Ldexp(1024+fraction, exponent-25)
		}
		if h>>15 == 1 {
			want = -want
		}
		got := float64(math.Float32frombits(halfToFloat(uint16(h))))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != math.Signbit(want) && !math.IsNaN(want) {
			t.Fatalf("%04x is %g, want %g", h, got, want)
		}
	}
}
