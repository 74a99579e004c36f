package resnet

import (
	"math"
	"slices"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// Observe computes what Forward does, and shows every value under its name.
func TestObserve(t *testing.T) {
	for name, n := range map[string]network{
		"BatchNorm":   {v1.ModelSpec{WidthMultiplier: 0.125}, 16},
		"ImageNet":    {v1.ModelSpec{WidthMultiplier: 0.125, Stem: v1.StemImageNet, Activation: v1.LeakyReLU}, 40},
		"bottlenecks": {v1.ModelSpec{Architecture: v1.ResNet50, WidthMultiplier: 0.125}, 16},
		"GroupNorm":   {v1.ModelSpec{WidthMultiplier: 0.125, Normalization: v1.GroupNorm, Activation: v1.SiLU}, 16},
		"LayerNorm":   {v1.ModelSpec{WidthMultiplier: 0.125, Normalization: v1.LayerNorm, Activation: v1.ReLU}, 16},
	} {
		t.Run(name, func(t *testing.T) {
			config := n.config(t)
			net, err := New(config, testSeed, libtorch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			var seen []string
			err = libtorch.Do(func(s *libtorch.Scope) {
				s.NoGrad(func() {
					images := func() libtorch.Tensor {
						return s.Images(n.pixels(), testImages, n.size, n.size, testMean, testStd, libtorch.CPU)
					}
					want, err := libtorch.Values[float32](net.Forward(s, images(), Eval))
					s.Fail(err)
					logits := net.Observe(s, images(), func(value string, x libtorch.Tensor) {
						seen = append(seen, value)
						if finite, err := libtorch.AllFinite(x); !finite || err != nil {
							t.Errorf("%s is not finite, %v", value, err)
						}
					})
					got, err := libtorch.Values[float32](logits)
					s.Fail(err)
					for i := range want {
						if math.Abs(float64(got[i]-want[i])) > 1e-4*(1+math.Abs(float64(want[i]))) {
							t.Errorf("logit %d is %v, want %v", i, got[i], want[i])
						}
					}
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := valuesOf(arch.New(config)); !slices.Equal(want, seen) {
				t.Errorf("saw %v\nwant %v", seen, want)
			}
		})
	}
}

func valuesOf(n *arch.Network) []string {
	layer := func(l arch.Layer) []string {
		if n.Config.Groups != 0 {
			return []string{l.Conv, l.Norm}
		}
		return []string{l.Norm}
	}
	values := append([]string{arch.Input}, append(layer(n.Stem), arch.StemActivation)...)
	for _, b := range n.Blocks {
		last := len(b.Body) - 1
		for i, l := range b.Body[:last] {
			values = append(append(values, layer(l)...), b.Activation(i))
		}
		end := layer(b.Body[last]) // its convolution is before the downsample, its normalisation behind
		values = append(values, end[:len(end)-1]...)
		if b.Downsample != nil {
			values = append(values, layer(*b.Downsample)...)
		}
		values = append(values, end[len(end)-1])
		values = append(values, b.Sum(), b.Activation(last))
	}
	return append(values, arch.Pooled)
}
