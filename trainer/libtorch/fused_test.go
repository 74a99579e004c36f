package libtorch_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// layer is a convolution of in to out channels, or a normalisation of in channels, of n images of h×w.
type layer struct {
	n, in, out, h, w, kernel int64

	Stride   int64 `json:"stride"`
	Norm     bool  `json:"norm"`
	Add      bool  `json:"add"`
	ReLU     bool  `json:"relu"`
	Autocast bool  `json:"autocast"` // to bfloat16

	sum func([]float64) error // over the processes that share the images; nil for one
}

func (l layer) String() string {
	if l.Norm {
		return fmt.Sprintf("norm of %d×%d×%d×%d, add %t, relu %t", l.n, l.in, l.h, l.w, l.Add, l.ReLU)
	}
	return fmt.Sprintf("%d×%d of stride %d, %d×%d×%d×%d to %d", l.kernel, l.kernel, l.Stride, l.n, l.in, l.h, l.w, l.out)
}

// layers of ordinary and of odd sizes: channels that fill no vector, odd maps whose last tiles stick out, single pixels,
// one image. Whether a convolution is Winograd's depends on its size; it is for those with "tiles".
func layers() map[string]layer {
	ls := map[string]layer{
		"tiles, of layer1":           {n: 2, in: 64, out: 64, h: 32, w: 32},
		"tiles, of layer4":           {n: 16, in: 512, out: 512, h: 4, w: 4},
		"tiles, 7×7":                 {n: 8, in: 64, out: 128, h: 7, w: 7},
		"tiles, odd channels":        {n: 5, in: 19, out: 37, h: 9, w: 11},
		"tiles, one image":           {n: 1, in: 16, out: 24, h: 28, w: 17},
		"tiles, 3×5":                 {n: 33, in: 20, out: 16, h: 3, w: 5},
		"2×3":                        {n: 33, in: 20, out: 16, h: 2, w: 3},
		"a picture":                  {n: 2, in: 3, out: 64, h: 32, w: 32},
		"1×1":                        {n: 3, in: 24, out: 16, h: 1, w: 1},
		"few tiles, one small image": {n: 1, in: 512, out: 512, h: 4, w: 4},
	}
	for name, l := range ls {
		l.kernel, l.Stride = 3, 1
		ls[name] = l
	}
	for _, in := range []int64{4, 8, 12, 16} { // with fewer than 16, oneDNN 2.6 crashes
		l := layer{n: 4, in: in, out: 2 * in, h: 65, w: 128, kernel: 1, Stride: 2}
		ls[l.String()] = l
	}
	for _, l := range []layer{ // of bottlenecks
		{n: 2, in: 256, out: 64, h: 9, w: 7, kernel: 1, Stride: 1}, {n: 2, in: 64, out: 256, h: 9, w: 7, kernel: 1, Stride: 1},
		{n: 4, in: 64, out: 64, h: 15, w: 15, kernel: 3, Stride: 2},
	} {
		ls[l.String()] = l
	}
	for _, l := range norms([]layer{
		{n: 4, in: 64, h: 16, w: 16}, {n: 3, in: 19, h: 7, w: 7}, {n: 5, in: 67, h: 1, w: 1}, {n: 70, in: 3, h: 1, w: 1}, {n: 1, in: 512, h: 4, w: 4}, {n: 3, in: 2048, h: 2, w: 2}, {n: 2, in: 8, h: 61, w: 67}, {n: 2, in: 200, h: 21, w: 23},
	}) {
		ls[l.String()] = l
	}
	return ls
}

// norms are normalisations of these sizes, with and without an addend and ReLU.
func norms(sizes []layer) (ls []layer) {
	for _, l := range sizes {
		for i := range 4 {
			l.out, l.Norm, l.Add, l.ReLU = l.in, true, i&1 != 0, i&2 != 0
			ls = append(ls, l)
		}
	}
	return ls
}

// inputs of a layer, by their names in peer.py. Those of norms have means and deviations other than 0 and 1.
func (l layer) inputs(rng *rand.Rand) checkpoint.StateDict {
	stride := max(l.Stride, 1)
	d := checkpoint.StateDict{
		"x": random(rng, 2, 0.5, l.n, l.in, l.h, l.w), "m": random(rng, 1, 0, l.n, l.out, (l.h-1)/stride+1, (l.w-1)/stride+1),
	}
	if l.Norm {
		d["w"], d["b"], d["a"] = random(rng, 0.3, 1, l.in), random(rng, 1, 0, l.in), random(rng, 1, 0, l.n, l.in, l.h, l.w)
	} else {
		d["w"] = random(rng, 0.1, 0, l.out, l.in, l.kernel, l.kernel)
	}
	return d
}

// roundings of a result: those of some operations, and before them of a sum of n numbers, added one after the other. That rounds the
// partial sums, of which the k-th has about the size of √k numbers, so that √(n/6) roundings of the whole are usual, and twice as
// many happen.
//
// The gradient of a normalisation's input is a difference of numbers that are larger, and so are their roundings.
func (l layer) roundings(result string, cancellation float64) float64 {
	n := max(l.n*l.h*l.w, max(l.in, l.out)*l.kernel*l.kernel)
	share := pytorch.Roundings(4 + int(2*math.Sqrt(float64(n)/6)))
	if l.Norm && result == "dx" {
		share *= max(1, cancellation)
	}
	return share
}

// inputsOf are the same ones in every run.
func inputsOf(ls map[string]layer) map[string]checkpoint.StateDict {
	rng := rand.New(rand.NewPCG(5, 6))
	inputs := map[string]checkpoint.StateDict{}
	for _, name := range slices.Sorted(maps.Keys(ls)) {
		inputs[name] = ls[name].inputs(rng)
	}
	return inputs
}

// exact is what PyTorch computes for layers in float64, and where they are not in autocast in float32.
func exact(t *testing.T, ls map[string]layer, inputs map[string]checkpoint.StateDict) checkpoint.StateDict {
	t.Helper()
	params, all := map[string]any{}, checkpoint.StateDict{}
	for name, l := range ls {
		params[name] = l
		for k, v := range inputs[name] {
			all[name+"."+k] = v
		}
	}
	return pytorch.Call(t, "layers", params, all)
}

// random is scale·x + shift with x from the normal distribution.
func random(rng *rand.Rand, scale, shift float32, shape ...int64) checkpoint.Tensor {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	v := normal(rng, int(n))
	for i := range v {
		v[i] = scale*v[i] + shift
	}
	return pytorch.Pack(v, shape...)
}

// parameter has the values of data, in channels_last.
func parameter(t *testing.T, data checkpoint.Tensor) libtorch.Tensor {
	t.Helper()
	p, err := libtorch.NewParameter(data.Shape, 0)
	if err == nil {
		err = libtorch.SetBytes(p, data.Data)
	}
	return onDevice(t, p, err)
}

// run computes everything that peer.py does.
func (l layer) run(t *testing.T, in checkpoint.StateDict) map[string]libtorch.Tensor {
	t.Helper()
	tensors := map[string]libtorch.Tensor{}
	for name, data := range in {
		tensors[name] = parameter(t, data)
	}
	dtype := libtorch.Float32
	if l.Autocast {
		dtype = libtorch.BFloat16
		tensors["identity"] = parameter(t, identity(l.in))
	}
	got := map[string]libtorch.Tensor{}
	err := libtorch.Do(func(s *libtorch.Scope) {
		s.Autocast(device, dtype, func() {
			if l.Norm {
				l.norm(t, s, tensors, got)
			} else {
				got["y"] = s.Conv2d(tensors["x"], tensors["w"], l.Stride, l.kernel/2)
			}
		})
		times := libtorch.GradScaler{Scale: tensors["m"]} // its ScaleLoss is a product
		loss := s.Norm(times.ScaleLoss(s, got["y"]))
		if l.sum != nil {
			loss = l.part(s, loss)
		}
		s.Backward(loss)
		got["y"] = s.Keep(got["y"])
		for _, name := range []string{"x", "w", "b", "a"} {
			if in[name].Shape != nil && (name != "a" || l.Add) {
				got["d"+name] = s.Keep(s.Grad(tensors[name]))
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (l layer) norm(t *testing.T, s *libtorch.Scope, tensors, got map[string]libtorch.Tensor) {
	bn := libtorch.BatchNorm{Weight: tensors["w"], Bias: tensors["b"], Momentum: 0.1, Eps: 1e-5}
	bn.RunningMean, bn.RunningVar = buffer(t, l.in, 0), buffer(t, l.in, 1)
	if l.sum != nil {
		bn.Processes = libtorch.NewProcessGroup(l.sum)
	}
	f, x, add := libtorch.Identity, tensors["x"], libtorch.Tensor{}
	if l.ReLU {
		f = libtorch.ReLU
	}
	if l.Add {
		add = tensors["a"]
	}
	if l.Autocast { // which makes bfloat16 of what a convolution reads
		x = s.Conv2d(x, tensors["identity"], 1, 0)
		if l.Add {
			add = s.Conv2d(add, tensors["identity"], 1, 0)
		}
	}
	got["y"] = s.BatchNorm(&bn, x, add, f, true)
	s.NoGrad(func() { got["eval"] = s.Keep(s.BatchNorm(&bn, x, add, f, false)) })
	got["mean"], got["var"] = bn.RunningMean, bn.RunningVar
}

// identity is the kernel of a 1×1 convolution that changes nothing.
func identity(channels int64) checkpoint.Tensor {
	ones := make([]float32, channels*channels)
	for i := range channels {
		ones[i*channels+i] = 1
	}
	return pytorch.Pack(ones, channels, channels, 1, 1)
}

// TestLayers: layers, their gradients and running statistics are as close to PyTorch's in float64 as PyTorch's in float32, and have the
// bits of a second time.
func TestLayers(t *testing.T) {
	inputs := inputsOf(layers())
	want := exact(t, layers(), inputs)
	for name, l := range layers() {
		t.Run(name, func(t *testing.T) {
			first, second := l.run(t, inputs[name]), l.run(t, inputs[name])
			cancellation := 1.0
			if l.Norm {
				cancellation = pytorch.Floats(want[name+"/float64.cancellation"])[0]
			}
			for k, got := range first {
				theirs, exact := want[name+"/float32."+k], want[name+"/float64."+k]
				floor := l.roundings(k, cancellation)
				pytorch.AsExact(t, k, floats(t, got), pytorch.Floats(theirs), pytorch.Floats(exact), 2, floor)
				a, err1 := libtorch.Bytes(got)
				b, err2 := libtorch.Bytes(second[k])
				if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
					t.Errorf("%s: the second time is not the same: %v %v", k, err1, err2)
				}
			}
		})
	}
}
