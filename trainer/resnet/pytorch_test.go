package resnet

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

const (
	testImages  = 4
	testClasses = 7
	testSeed    = 42
)

var testMean, testStd = []float32{0.49, 0.48, 0.45}, []float32{0.2, 0.19, 0.21}

// network to be compared: a spec and the size of its images.
type network struct {
	spec v1.ModelSpec
	size int
}

func (n network) config(t *testing.T) arch.Config {
	t.Helper()
	c, err := arch.ConfigOf(n.spec, n.size, n.size, 3, testClasses)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (n network) pixels() []byte {
	pixels := make([]byte, testImages*n.size*n.size*3)
	rand.NewChaCha8([32]byte{}).Read(pixels)
	return pixels
}

func (n network) packed() checkpoint.Tensor {
	return pytorch.Pack(n.pixels(), testImages, int64(n.size), int64(n.size), 3)
}

// TestPyTorch compares narrow networks with the same ones in PyTorch: initial weights, input, logits and statistics.
func TestPyTorch(t *testing.T) {
	networks := map[string]network{
		"GroupNorm": {v1.ModelSpec{Normalization: v1.GroupNorm}, 32},
		"2 groups":  {v1.ModelSpec{Normalization: v1.GroupNorm, NormalizationGroups: new(int32(2))}, 32},
		"LayerNorm": {v1.ModelSpec{Normalization: v1.LayerNorm}, 32},
		"ImageNet":  {v1.ModelSpec{Stem: v1.StemImageNet}, 96},
		"ResNet34":  {v1.ModelSpec{Architecture: v1.ResNet34, ZeroInitResidual: true}, 32},
		"ResNet50":  {v1.ModelSpec{Architecture: v1.ResNet50, ZeroInitResidual: true}, 32},
		"ResNet50 with GroupNorm": {v1.ModelSpec{Architecture: v1.ResNet50, Normalization: v1.GroupNorm, Stem: v1.StemImageNet,
			Activation: v1.SiLU}, 64},
	}
	for _, a := range []v1.Activation{v1.ReLU, v1.LeakyReLU, v1.SiLU, v1.GELU, v1.Hardswish} {
		networks[string(a)] = network{v1.ModelSpec{Activation: a}, 32}
	}
	configs, pixels := map[string]any{}, checkpoint.StateDict{}
	for name, n := range networks {
		n.spec.WidthMultiplier = 0.125
		networks[name] = n
		configs[name] = pytorch.Network(n.config(t))
		pixels["pixels."+name] = n.packed()
	}
	want := pytorch.Call(t, "networks", map[string]any{
		"seed": testSeed, "mean": testMean, "std": testStd, "configs": configs, "precisions": pytorch.Precisions(),
	}, pixels)
	for name, n := range networks {
		t.Run(name, func(t *testing.T) { compare(t, n, sub(want, name+"/")) })
	}
}

// TestTorchvision compares the networks of ordinary width with torchvision's own: initial weights, bit for bit, and
// logits with both stems.
func TestTorchvision(t *testing.T) {
	for _, architecture := range []v1.Architecture{v1.ResNet18, v1.ResNet34, v1.ResNet50, v1.ResNet101, v1.ResNet152} {
		t.Run(string(architecture), func(t *testing.T) {
			large := network{v1.ModelSpec{Architecture: architecture, Stem: v1.StemImageNet}, 64}
			small := network{v1.ModelSpec{Architecture: architecture, Stem: v1.StemCIFAR}, 32}
			want := pytorch.Call(t, "torchvision_network", map[string]any{
				"seed": testSeed, "torchvision": strings.ToLower(string(architecture)), "classes": testClasses,
				"mean": testMean, "std": testStd,
			}, checkpoint.StateDict{"ImageNet": large.packed(), "CIFAR": small.packed()})
			net, err := New(large.config(t), testSeed, libtorch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			state := compareInitial(t, net, want)
			const tolerance = 1e-5
			got := logits(t, net, large, libtorch.Float32, Eval)
			pytorch.Compare(t, "logits", got, pytorch.Floats(want["ImageNet"]), tolerance)

			if net, err = New(small.config(t), testSeed, libtorch.CPU); err != nil {
				t.Fatal(err)
			}
			state["conv1.weight"] = want["conv1.weight"]
			if err := net.LoadStateDict(state); err != nil {
				t.Fatal(err)
			}
			got = logits(t, net, small, libtorch.Float32, Eval)
			pytorch.Compare(t, "logits of small images", got, pytorch.Floats(want["CIFAR"]), tolerance)
		})
	}
}

// TestGradients: the gradients of all weights are as close to those in float64 as PyTorch's own, in float32 and in bfloat16. Which of
// the two is nearer in one batch is chance, so distances are of several batches together. With ReLU, a number near 0 may
// fall on the other side, which changes gradients by some thousandths, PyTorch's too.
func TestGradients(t *testing.T) {
	const (
		batches   = 6
		batchSize = 4 * testImages // enough tiles for Winograd in every layer
		images    = batches * batchSize
		factor    = 2 // how many times as far from float64 as PyTorch we may be
	)
	for name, c := range map[string]struct {
		spec      v1.ModelSpec
		tolerance float64 // where PyTorch is better than this, we need not be
	}{
		"ResNet18": {v1.ModelSpec{WidthMultiplier: 0.5}, 1e-2},
		"ResNet34": {v1.ModelSpec{WidthMultiplier: 0.25, Architecture: v1.ResNet34, Activation: v1.SiLU}, 1e-5},
		"ResNet50": {v1.ModelSpec{WidthMultiplier: 0.125, Architecture: v1.ResNet50, Activation: v1.SiLU}, 1e-5},
	} {
		t.Run(name, func(t *testing.T) {
			n := network{c.spec, 32}
			size := n.size * n.size * 3 // of an image
			pixels := make([]byte, images*size)
			rand.NewChaCha8([32]byte{1}).Read(pixels)
			labels := make([]int64, images)
			for i := range labels {
				labels[i] = int64(i % testClasses)
			}
			params := pytorch.Network(n.config(t))
			params["seed"], params["mean"], params["std"], params["batch_size"] = testSeed, testMean, testStd, batchSize
			params["precisions"] = pytorch.Precisions()
			want := pytorch.Call(t, "gradients", params, checkpoint.StateDict{
				"pixels": pytorch.Pack(pixels, images, int64(n.size), int64(n.size), 3), "labels": pytorch.Pack(labels, images),
			})
			for _, name := range pytorch.Precisions()[1:] {
				dtype := map[string]libtorch.DType{"float32": libtorch.Float32, "bfloat16": libtorch.BFloat16}[name]
				got := map[string][]float64{}
				for first := 0; first < images; first += batchSize {
					end := first + batchSize
					for key, values := range gradients(t, n, dtype, pixels[first*size:end*size], labels[first:end]) {
						got[key] = append(got[key], values...)
					}
				}
				exact := sub(want, "float64.")
				if len(got) != len(exact) {
					t.Fatalf("%d gradients, PyTorch has %d", len(got), len(exact))
				}
				for key, w := range exact {
					pytorch.AsExact(t, name+" "+key, got[key], pytorch.Floats(want[name+"."+key]), pytorch.Floats(w), factor, c.tolerance)
				}
			}
		})
	}
}

// gradients are those of the loss of the initial network, by the names of the parameters.
func gradients(t *testing.T, n network, dtype libtorch.DType, pixels []byte, labels []int64) map[string][]float64 {
	t.Helper()
	net, err := New(n.config(t), testSeed, libtorch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]float64{}
	err = libtorch.Do(func(s *libtorch.Scope) {
		x := s.Images(pixels, len(labels), n.size, n.size, testMean, testStd, libtorch.CPU)
		var loss libtorch.Tensor
		s.Autocast(libtorch.CPU, dtype, func() {
			loss = libtorch.CrossEntropy{}.Of(s, net.Forward(s, x, Train), s.Labels(labels, libtorch.CPU))
		})
		s.Backward(loss)
		names, parameters := net.Parameters()
		for i, p := range parameters {
			if s.Err() != nil {
				return
			}
			values, err := libtorch.Values[float32](s.Grad(p))
			s.Fail(err)
			for _, v := range values {
				got[names[i]] = append(got[names[i]], float64(v))
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// asExact compares with PyTorch in a precision and in float64. In float32 each of the 50 or 100 operations between the images and the
// logits rounds once; in bfloat16, half of them.
func asExact(t *testing.T, name string, got []float64, want checkpoint.StateDict, precision, key string) {
	t.Helper()
	floor := pytorch.Roundings(50)
	if precision == "bfloat16" {
		floor = 0x1p-8
	}
	theirs, exact := want[precision+"."+key], want["float64."+key]
	pytorch.AsExact(t, precision+" "+name, got, pytorch.Floats(theirs), pytorch.Floats(exact), 2, floor)
}

func compareInitial(t *testing.T, net *ResNet, want checkpoint.StateDict) checkpoint.StateDict {
	t.Helper()
	initial, err := net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	wantInit := sub(want, "init.")
	if diff := cmp.Diff(slices.Sorted(maps.Keys(wantInit)), slices.Sorted(maps.Keys(initial))); diff != "" {
		t.Fatal(diff)
	}
	for name, w := range wantInit {
		if got := initial[name]; got.DType != w.DType || !slices.Equal(got.Shape, w.Shape) || !bytes.Equal(got.Data, w.Data) {
			t.Errorf("initial %s differs", name)
		}
	}
	return initial
}

func compare(t *testing.T, n network, want checkpoint.StateDict) {
	net, err := New(n.config(t), testSeed, libtorch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	initial := compareInitial(t, net, want)
	err = libtorch.Do(func(s *libtorch.Scope) {
		got, _ := libtorch.Bytes(s.Images(n.pixels(), testImages, n.size, n.size, testMean, testStd, libtorch.CPU))
		if !bytes.Equal(got, want["images"].Data) {
			t.Error("images differ")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		precision string
		dtype     libtorch.DType
		kernels   string
	}{{"float32", libtorch.Float32, ""}, {"bfloat16", libtorch.BFloat16, ""}, {"bfloat16", libtorch.BFloat16, "libtorch"}} {
		if !slices.Contains(pytorch.Precisions(), c.precision) {
			continue
		}
		t.Setenv("RESNET_KERNELS", c.kernels)
		if err := net.LoadStateDict(initial); err != nil {
			t.Fatal(err)
		}
		asExact(t, "logits in training", logits(t, net, n, c.dtype, Train), want, c.precision, "train")
		net.CountBatch()
		after, err := net.StateDict()
		if err != nil {
			t.Fatal(err)
		}
		for key, w := range sub(want, c.precision+".after.") {
			if strings.HasSuffix(key, "num_batches_tracked") {
				if !bytes.Equal(after[key].Data, w.Data) {
					t.Errorf("%s: %x, PyTorch has %x", key, after[key].Data, w.Data)
				}
				continue
			}
			asExact(t, key, pytorch.Floats(after[key]), want, c.precision, "after."+key)
		}
		asExact(t, "logits in evaluation", logits(t, net, n, c.dtype, Eval), want, c.precision, "eval")
	}
}

func logits(t *testing.T, net *ResNet, n network, dtype libtorch.DType, mode Mode) []float64 {
	t.Helper()
	var got checkpoint.Tensor
	err := libtorch.Do(func(s *libtorch.Scope) {
		s.NoGrad(func() {
			x := s.Images(n.pixels(), testImages, n.size, n.size, testMean, testStd, libtorch.CPU)
			var out libtorch.Tensor
			s.Autocast(libtorch.CPU, dtype, func() { out = net.Forward(s, x, mode) })
			if s.Err() != nil {
				return
			}
			data, err := libtorch.Bytes(out)
			if err != nil {
				t.Error(err)
			}
			got = checkpoint.Tensor{DType: "F32", Data: data}
			if dtype == libtorch.BFloat16 {
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
