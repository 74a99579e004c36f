package resnet

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

const (
	testImages  = 4
	testClasses = 7
	testSeed    = 42
)

var testMean, testStd = []float32{0.49, 0.48, 0.45}, []float32{0.2, 0.19, 0.21}

// TestPyTorch compares ResNet-18 with the same modules in PyTorch: initial weights, input, logits and statistics.
func TestPyTorch(t *testing.T) {
	pixels := make([]byte, testImages*32*32*3)
	rng := rand.NewChaCha8([32]byte{})
	rng.Read(pixels)
	want := pytorch.Call(t, "network", map[string]any{
		"seed": testSeed, "channels": 3, "classes": testClasses, "widths": Widths18, "mean": testMean, "std": testStd,
	}, checkpoint.StateDict{"pixels": pytorch.Pack(pixels, testImages, 32, 32, 3)})
	net, err := New(3, testClasses, Widths18, testSeed, libtorch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	initial, err := net.StateDict()
	if err != nil {
		t.Fatal(err)
	}

	t.Run("initial weights are identical", func(t *testing.T) {
		wantInit := sub(want, "init.")
		if diff := cmp.Diff(slices.Sorted(maps.Keys(wantInit)), slices.Sorted(maps.Keys(initial))); diff != "" {
			t.Fatal(diff)
		}
		for name, w := range wantInit {
			if got := initial[name]; got.DType != w.DType || !slices.Equal(got.Shape, w.Shape) || !bytes.Equal(got.Data, w.Data) {
				t.Errorf("%s differs", name)
			}
		}
	})
	t.Run("images are identical", func(t *testing.T) {
		err := libtorch.Do(func(s *libtorch.Scope) {
			got, _ := libtorch.Bytes(s.Images(pixels, testImages, 32, 32, testMean, testStd, libtorch.CPU))
			if !bytes.Equal(got, want["images"].Data) {
				t.Error("images differ")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	for dtype, tolerance := range map[string]float64{"fp32": 1e-5, "bf16": 1e-2} {
		t.Run(dtype, func(t *testing.T) {
			if err := net.LoadStateDict(initial); err != nil {
				t.Fatal(err)
			}
			bf16 := dtype == "bf16"
			pytorch.Compare(t, "logits in training", logits(t, net, pixels, bf16, true), pytorch.Floats(want[dtype+".train"]), tolerance)
			after, err := net.StateDict()
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range sub(want, dtype+".after.") {
				switch {
				case strings.HasSuffix(name, "num_batches_tracked"):
					if !bytes.Equal(after[name].Data, w.Data) {
						t.Errorf("%s: %x, PyTorch has %x", name, after[name].Data, w.Data)
					}
				default:
					pytorch.Compare(t, name, pytorch.Floats(after[name]), pytorch.Floats(w), tolerance)
				}
			}
			pytorch.Compare(t, "logits in evaluation", logits(t, net, pixels, bf16, false), pytorch.Floats(want[dtype+".eval"]), tolerance)
		})
	}
}

func logits(t *testing.T, net *ResNet, pixels []byte, bf16, training bool) []float64 {
	t.Helper()
	var got checkpoint.Tensor
	err := libtorch.Do(func(s *libtorch.Scope) {
		s.NoGrad(func() {
			x := s.Images(pixels, testImages, 32, 32, testMean, testStd, libtorch.CPU)
			var out libtorch.Tensor
			s.AutocastBF16(libtorch.CPU, bf16, func() { out = net.Forward(s, x, training) })
			data, err := libtorch.Bytes(out)
			if err != nil {
				t.Error(err)
			}
			got = checkpoint.Tensor{DType: "F32", Data: data}
			if bf16 {
				got.DType = "BF16"
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return pytorch.Floats(got)
}

// sub is the part of d below a prefix.
func sub(d checkpoint.StateDict, prefix string) checkpoint.StateDict {
	part := checkpoint.StateDict{}
	for name, t := range d {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			part[rest] = t
		}
	}
	return part
}
