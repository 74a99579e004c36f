package libtorch_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/wangkuiyi/gotorch/nn"
)

// TestAdamW trains a linear classifier for 20 steps, with label smoothing and another lr and beta1 in every step, and
// compares loss, parameters and moments with PyTorch.
func TestAdamW(t *testing.T) {
	const steps, n, features, classes = 20, 8, 30, 5
	const beta2, eps, weightDecay, smoothing = 0.99, 1e-7, 0.1, 0.1
	var lrs, beta1s []float64
	for i := range steps {
		lrs = append(lrs, 0.01*float64(i+1))
		beta1s = append(beta1s, 0.95-0.005*float64(i))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	weight, bias := normal(rng, classes*features), normal(rng, classes)
	images, labels := make([]byte, n*features), make([]int64, n)
	x := make([]float32, n*features)
	for i := range images {
		images[i] = byte(rng.IntN(256))
		x[i] = (float32(images[i])/255 - 0.5) / 0.25
	}
	for i := range labels {
		labels[i] = rng.Int64N(classes)
	}
	want := pytorch.Call(t, "linear_adamw", map[string]any{
		"lrs": lrs, "beta1s": beta1s, "beta2": beta2, "eps": eps, "weight_decay": weightDecay, "label_smoothing": smoothing,
	}, checkpoint.StateDict{
		"x": pytorch.Pack(x, n, features), "labels": pytorch.Pack(labels, n),
		"weight": pytorch.Pack(weight, classes, features), "bias": pytorch.Pack(bias, classes),
	})

	fc := nn.Linear(features, classes, true)
	setFloats(t, fc.Weight, weight)
	setFloats(t, fc.Bias, bias)
	opt, err := libtorch.NewAdamW([]libtorch.Tensor{fc.Weight, fc.Bias}, beta2, eps, weightDecay)
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	for i := range steps {
		err := libtorch.Do(func(s *libtorch.Scope) {
			// 1×1 images with as many channels as features: the pool makes them N×features.
			mean, std := repeat(0.5, features), repeat(0.25, features)
			in := s.GlobalAvgPool(s.Images(images, n, 1, 1, mean, std, libtorch.CPU))
			loss := s.CrossEntropy(s.Linear(in, fc.Weight, fc.Bias), s.Labels(labels, libtorch.CPU), smoothing)
			s.Backward(loss)
			opt.Step(s, lrs[i], beta1s[i])
			losses = append(losses, floats(t, loss)...)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, got := range map[string][]float64{
		"losses": losses, "weight": floats(t, fc.Weight), "bias": floats(t, fc.Bias),
		"exp_avg.weight": floats(t, opt.ExpAvg[0]), "exp_avg.bias": floats(t, opt.ExpAvg[1]),
		"exp_avg_sq.weight": floats(t, opt.ExpAvgSq[0]), "exp_avg_sq.bias": floats(t, opt.ExpAvgSq[1]),
	} {
		pytorch.Compare(t, name, got, pytorch.Floats(want[name]), 2e-6)
	}
	if opt.Steps != steps {
		t.Errorf("%d steps counted", opt.Steps)
	}
}

func normal(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

func repeat(x float32, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = x
	}
	return v
}

func setFloats(t *testing.T, to libtorch.Tensor, values []float32) {
	t.Helper()
	if err := libtorch.SetBytes(to, pytorch.Pack(values).Data); err != nil {
		t.Fatal(err)
	}
}

func floats(t *testing.T, x libtorch.Tensor) []float64 {
	t.Helper()
	values, err := libtorch.Values[float32](x)
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for _, v := range values {
		if math.IsNaN(float64(v)) {
			t.Error("NaN")
		}
		out = append(out, float64(v))
	}
	return out
}
