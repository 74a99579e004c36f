package libtorch_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch/internal/openmp"
)

// autocastLayer is a convolution of in to out channels with a square kernel, or without one a normalisation of in channels.
type autocastLayer struct {
	n, in, out, size, kernel, stride int64
	add, relu                        bool
}

func (l autocastLayer) String() string {
	if l.kernel == 0 {
		return fmt.Sprintf("norm of %d×%d×%d×%d, add %t, relu %t", l.n, l.in, l.size, l.size, l.add, l.relu)
	}
	return fmt.Sprintf("%d×%d of stride %d, %d×%d×%d×%d to %d", l.kernel, l.kernel, l.stride, l.n, l.in, l.size, l.size, l.out)
}

// run is the layer in autocast to bfloat16: its output, the gradients of its inputs, and running statistics.
func (l autocastLayer) run(t *testing.T) map[string]libtorch.Tensor {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	leaf := func(scale, shift float32, shape ...int64) libtorch.Tensor {
		return parameter(t, random(rng, scale, shift, shape...))
	}
	got := map[string]libtorch.Tensor{}
	x := leaf(2, 0.5, l.n, l.in, l.size, l.size)
	leaves := map[string]libtorch.Tensor{"dx": x}
	err := libtorch.Do(func(s *libtorch.Scope) {
		s.Autocast(device, libtorch.BFloat16, func() {
			if l.kernel > 0 {
				leaves["dw"] = leaf(0.1, 0, l.out, l.in, l.kernel, l.kernel)
				got["y"] = s.Conv2d(x, leaves["dw"], l.stride, l.kernel/2)
				return
			}
			// The identity, as a convolution: autocast makes bfloat16 of its input.
			eye := leaf(0, 0, l.in, l.in, 1, 1)
			ones := make([]float32, l.in*l.in)
			for i := range l.in {
				ones[i*l.in+i] = 1
			}
			if err := libtorch.SetBytes(eye, pytorch.Pack(ones, l.in, l.in, 1, 1).Data); err != nil {
				t.Fatal(err)
			}
			bn := libtorch.BatchNorm{Weight: leaf(0.3, 1, l.in), Bias: leaf(1, 0, l.in), Momentum: 0.1, Eps: 1e-5}
			bn.RunningMean, bn.RunningVar = buffer(t, l.in, 0), buffer(t, l.in, 1)
			leaves["dw"], leaves["db"] = bn.Weight, bn.Bias
			f, add := libtorch.Identity, libtorch.Tensor{}
			if l.relu {
				f = libtorch.ReLU
			}
			if l.add {
				leaves["da"] = leaf(1, 0, l.n, l.in, l.size, l.size)
				add = s.Conv2d(leaves["da"], eye, 1, 0)
			}
			got["y"] = s.BatchNorm(&bn, s.Conv2d(x, eye, 1, 0), add, f, true)
			s.NoGrad(func() { got["eval"] = s.Keep(s.BatchNorm(&bn, s.Conv2d(x, eye, 1, 0), add, f, false)) })
			got["mean"], got["var"] = bn.RunningMean, bn.RunningVar
		})
		if s.Err() != nil {
			return
		}
		out, size := max(l.out, l.in*(1-min(l.kernel, 1))), (l.size-1)/max(l.stride, 1)+1
		times := libtorch.GradScaler{Scale: leaf(1, 0, l.n, out, size, size)} // its ScaleLoss is a product
		s.Backward(s.Norm(times.ScaleLoss(s, got["y"])))
		got["y"] = s.Keep(got["y"])
		for name, x := range leaves {
			got[name] = s.Keep(s.Grad(x))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestLayersInBFloat16 compares our operations in autocast with libtorch's, and their bits with those of another number of threads.
func TestLayersInBFloat16(t *testing.T) {
	layers := []autocastLayer{
		{n: 33, in: 64, out: 64, size: 20, kernel: 3, stride: 1},  // as layer1: some rows at a time
		{n: 34, in: 256, out: 256, size: 4, kernel: 3, stride: 1}, // as layer4: all at once
		{n: 33, in: 64, out: 128, size: 16, kernel: 3, stride: 2}, // one image more than a block
		{n: 40, in: 32, out: 96, size: 8, kernel: 1, stride: 2},
		{n: 5, in: 32, out: 64, size: 7, kernel: 3, stride: 2},
		{n: 1, in: 96, out: 32, size: 11, kernel: 3, stride: 1},
		{n: 3, in: 64, out: 64, size: 1, kernel: 3, stride: 1},
		{n: 2, in: 32, out: 32, size: 2, kernel: 7, stride: 2},
		{n: 70, in: 32, out: 32, size: 17, kernel: 3, stride: 1},
		{n: 4, in: 3, out: 64, size: 16, kernel: 3, stride: 1}, // libtorch's
	}
	for _, l := range []autocastLayer{{n: 4, in: 64, size: 16}, {n: 3, in: 19, size: 7}, {n: 25, in: 3, size: 1}, {n: 1, in: 512, size: 4}, {n: 2, in: 8, size: 61}} {
		for i := range 4 {
			l.add, l.relu = i&1 != 0, i&2 != 0
			layers = append(layers, l)
		}
	}
	threads := openmp.Threads
	defer func() { openmp.Threads = threads }()
	for _, l := range layers {
		t.Run(l.String(), func(t *testing.T) {
			got := l.run(t)
			openmp.Threads = 3 - min(threads, 2)
			second := l.run(t)
			openmp.Threads = threads
			t.Setenv("RESNET_KERNELS", "libtorch")
			want := l.run(t)
			data := func(t *testing.T, x libtorch.Tensor) []byte {
				b, err := libtorch.Bytes(x)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			for k := range want {
				dtype := "F32"
				if k == "y" || k == "eval" {
					dtype = "BF16"
				}
				a, b, c := data(t, got[k]), data(t, second[k]), data(t, want[k])
				pytorch.Compare(t, k, pytorch.Floats(checkpoint.Tensor{DType: dtype, Data: a}), pytorch.Floats(checkpoint.Tensor{DType: dtype, Data: c}), 1e-2)
				libtorchs := l.kernel > 0 && bytes.Equal(a, c) // no convolution of our own for this layer, or this processor
				if !bytes.Equal(a, b) && !libtorchs {
					t.Errorf("%s: the bits depend on the number of threads", k)
				}
			}
		})
	}
}
