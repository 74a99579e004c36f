package libtorch_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// layer is a convolution of in to out channels, or a normalisation of in channels, of n images of h×w.
type layer struct {
	n, in, out, h, w int64

	Norm bool `json:"norm"`
	Add  bool `json:"add"`
	ReLU bool `json:"relu"`
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
		"tiles, 2×3":                 {n: 33, in: 20, out: 16, h: 2, w: 3},
		"a picture":                  {n: 2, in: 3, out: 64, h: 32, w: 32},
		"1×1":                        {n: 3, in: 24, out: 16, h: 1, w: 1},
		"few tiles, one small image": {n: 1, in: 512, out: 512, h: 4, w: 4},
	}
	for _, size := range []layer{
		{n: 4, in: 64, h: 16, w: 16}, {n: 3, in: 19, h: 7, w: 7}, {n: 5, in: 3, h: 1, w: 1}, {n: 1, in: 512, h: 4, w: 4}, {n: 2, in: 8, h: 61, w: 67},
	} {
		for i := range 4 {
			l := size
			l.Norm, l.Add, l.ReLU = true, i&1 != 0, i&2 != 0
			ls[fmt.Sprintf("norm of %d×%d×%d×%d, add %t, relu %t", l.n, l.in, l.h, l.w, l.Add, l.ReLU)] = l
		}
	}
	return ls
}

// inputs of a layer, by their names in peer.py. Those of norms have means and deviations other than 0 and 1.
func (l layer) inputs(rng *rand.Rand) checkpoint.StateDict {
	out := l.out
	if l.Norm {
		out = l.in
	}
	d := checkpoint.StateDict{
		"x": random(rng, 2, 0.5, l.n, l.in, l.h, l.w), "m": random(rng, 1, 0, l.n, out, l.h, l.w), "w": random(rng, 0.1, 0, out, l.in, 3, 3),
	}
	if l.Norm {
		d["w"], d["b"], d["a"] = random(rng, 0.3, 1, l.in), random(rng, 1, 0, l.in), random(rng, 1, 0, l.n, l.in, l.h, l.w)
	}
	return d
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
	bn := libtorch.BatchNorm{Weight: tensors["w"], Bias: tensors["b"], Momentum: 0.1, Eps: 1e-5}
	got := map[string]libtorch.Tensor{}
	if l.Norm {
		bn.RunningMean, bn.RunningVar = buffer(t, l.in, 0), buffer(t, l.in, 1)
		got["mean"], got["var"] = bn.RunningMean, bn.RunningVar
	}
	f, add := libtorch.Identity, libtorch.Tensor{}
	if l.ReLU {
		f = libtorch.ReLU
	}
	if l.Add {
		add = tensors["a"]
	}
	err := libtorch.Do(func(s *libtorch.Scope) {
		var y libtorch.Tensor
		if l.Norm {
			y = s.BatchNorm(&bn, tensors["x"], add, f, true)
		} else {
			y = s.Conv2d(tensors["x"], tensors["w"], 1, 1)
		}
		got["y"] = s.Keep(y)
		times := libtorch.GradScaler{Scale: tensors["m"]} // its ScaleLoss is a product
		s.Backward(s.Norm(times.ScaleLoss(s, y)))
		for _, name := range []string{"x", "w", "b", "a"} {
			if in[name].Shape != nil && (name != "a" || l.Add) {
				got["d"+name] = s.Keep(s.Grad(tensors[name]))
			}
		}
		if l.Norm {
			s.NoGrad(func() { got["eval"] = s.Keep(s.BatchNorm(&bn, tensors["x"], add, f, false)) })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestLayers compares layers, their gradients and running statistics with PyTorch's in float64, and their bits with those
// of a second time.
func TestLayers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	inputs, all := map[string]checkpoint.StateDict{}, checkpoint.StateDict{}
	for name, l := range layers() {
		inputs[name] = l.inputs(rng)
		for k, v := range inputs[name] {
			all[name+"."+k] = v
		}
	}
	params := map[string]any{}
	for name, l := range layers() {
		params[name] = l
	}
	want := pytorch.Call(t, "layers", params, all)
	for name, l := range layers() {
		t.Run(name, func(t *testing.T) {
			first, second := l.run(t, inputs[name]), l.run(t, inputs[name])
			for k, got := range first {
				pytorch.Compare(t, k, floats(t, got), pytorch.Floats(want[name+"/"+k]), 5e-6)
				a, err1 := libtorch.Bytes(got)
				b, err2 := libtorch.Bytes(second[k])
				if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
					t.Errorf("%s: the second time is not the same: %v %v", k, err1, err2)
				}
			}
		})
	}
}
