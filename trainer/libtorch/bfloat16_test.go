package libtorch_test

import (
	"bytes"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch/internal/openmp"
)

// layersInBFloat16 are in autocast.
func layersInBFloat16() map[string]layer {
	ls := []layer{
		{n: 33, in: 64, out: 64, h: 20, kernel: 3, Stride: 1},  // as layer1: some rows at a time
		{n: 34, in: 256, out: 256, h: 4, kernel: 3, Stride: 1}, // as layer4: all at once
		{n: 33, in: 64, out: 128, h: 16, kernel: 3, Stride: 2}, // one image more than a block
		{n: 40, in: 32, out: 96, h: 8, kernel: 1, Stride: 2},
		{n: 33, in: 256, out: 64, h: 9, kernel: 1, Stride: 1}, // of bottlenecks
		{n: 2, in: 64, out: 256, h: 7, kernel: 1, Stride: 1},
		{n: 5, in: 32, out: 64, h: 7, kernel: 3, Stride: 2},
		{n: 1, in: 96, out: 32, h: 11, kernel: 3, Stride: 1},
		{n: 3, in: 64, out: 64, h: 1, kernel: 3, Stride: 1},
		{n: 2, in: 32, out: 32, h: 2, kernel: 7, Stride: 2},
		{n: 70, in: 32, out: 32, h: 17, kernel: 3, Stride: 1},
		{n: 4, in: 3, out: 64, h: 16, kernel: 3, Stride: 1}, // libtorch's
	}
	ls = append(ls, norms([]layer{{n: 4, in: 64, h: 16}, {n: 3, in: 19, h: 7}, {n: 70, in: 3, h: 1}, {n: 5, in: 67, h: 1}, {n: 1, in: 512, h: 4}, {n: 3, in: 2048, h: 2}, {n: 2, in: 8, h: 61}})...)
	byName := map[string]layer{}
	for _, l := range ls {
		l.w, l.Autocast = l.h, true
		byName[l.String()] = l
	}
	return byName
}

// TestLayersInBFloat16: our operations in autocast are as close to float64 as libtorch's, and have the bits of another number of threads.
func TestLayersInBFloat16(t *testing.T) {
	if !pytorch.HasBFloat16() {
		t.Skip("oneDNN is kept below AVX-512")
	}
	inputs := inputsOf(layersInBFloat16())
	want := exact(t, layersInBFloat16(), inputs)
	threads := openmp.Threads
	defer func() { openmp.Threads = threads }()
	for name, l := range layersInBFloat16() {
		t.Run(name, func(t *testing.T) {
			got := l.run(t, inputs[name])
			openmp.Threads = 3 - min(threads, 2)
			second := l.run(t, inputs[name])
			openmp.Threads = threads
			t.Setenv("RESNET_KERNELS", "libtorch")
			theirs := l.run(t, inputs[name])
			for k := range theirs {
				a, b, c := packed(t, k, got[k]), packed(t, k, second[k]), packed(t, k, theirs[k])
				exact := pytorch.Floats(want[name+"/float64."+k])
				const rounding = 0x1p-8 // to bfloat16
				pytorch.AsExact(t, k, pytorch.Floats(a), pytorch.Floats(c), exact, 2, rounding)
				libtorchs := !l.Norm && bytes.Equal(a.Data, c.Data) // no convolution of our own for this layer, or this processor
				if !bytes.Equal(a.Data, b.Data) && !libtorchs {
					t.Errorf("%s: the bits depend on the number of threads", k)
				}
			}
		})
	}
}

// packed is the content of a result of a layer in autocast, whose outputs are in bfloat16.
func packed(t *testing.T, name string, x libtorch.Tensor) checkpoint.Tensor {
	t.Helper()
	data, err := libtorch.Bytes(x)
	if err != nil {
		t.Fatal(err)
	}
	if name == "y" || name == "eval" {
		return checkpoint.Tensor{DType: "BF16", Data: data}
	}
	return checkpoint.Tensor{DType: "F32", Data: data}
}
