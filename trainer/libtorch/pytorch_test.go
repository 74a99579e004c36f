package libtorch_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/wangkuiyi/gotorch/nn"
)

// optimizer is one to be compared, in the words of peer.py.
type optimizer struct {
	Type             string  `json:"type"`
	LR               float64 `json:"lr"`
	Momentum         float64 `json:"momentum"`
	Dampening        float64 `json:"dampening"`
	Nesterov         bool    `json:"nesterov"`
	Beta2            float64 `json:"beta2"`
	Eps              float64 `json:"eps"`
	WeightDecay      float64 `json:"weight_decay"`
	DecayNormAndBias bool    `json:"decay_norm_and_bias"`
	// LRMultipliers are factors of the learning rate.
	LRMultipliers map[string]float64 `json:"lr_multipliers"`
}

var parts = map[string]float64{"weight": 0.3}

var optimizers = map[string]optimizer{
	"adamw":            {Type: "AdamW", Momentum: 0.9, Beta2: 0.99, Eps: 1e-7, WeightDecay: 0.1, DecayNormAndBias: true},
	"adamw, no bias":   {Type: "AdamW", Momentum: 0.9, Beta2: 0.99, Eps: 1e-7, WeightDecay: 0.1},
	"sgd, nesterov":    {Type: "SGD", Momentum: 0.9, Nesterov: true, WeightDecay: 0.1, DecayNormAndBias: true},
	"sgd, dampening":   {Type: "SGD", Momentum: 0.9, Dampening: 0.3, WeightDecay: 0.1},
	"adamw, parts":     {Type: "AdamW", Momentum: 0.9, Beta2: 0.99, Eps: 1e-7, WeightDecay: 0.1, LRMultipliers: parts},
	"sgd, parts":       {Type: "SGD", Momentum: 0.9, WeightDecay: 0.1, DecayNormAndBias: true, LRMultipliers: parts},
	"sgd, no momentum": {Type: "SGD", WeightDecay: 0.1, DecayNormAndBias: true},
}

func (o optimizer) make(t *testing.T, tensors ...libtorch.Tensor) (libtorch.Optimizer, *libtorch.Parameters) {
	t.Helper()
	var options []libtorch.ParamOptions
	for _, p := range tensors {
		own := libtorch.ParamOptions{LRMultiplier: 1}
		if o.DecayNormAndBias || len(p.Shape()) > 1 {
			own.WeightDecay = o.WeightDecay
		}
		if m, ok := o.LRMultipliers["weight"]; ok && len(p.Shape()) > 1 {
			own.LRMultiplier = m
		}
		options = append(options, own)
	}
	params := libtorch.NewParameters(tensors, options)
	var opt libtorch.Optimizer
	var err error
	switch {
	case o.Type == "SGD" && device == libtorch.CUDA:
		opt, err = libtorch.NewDeviceSGD(params, o.Dampening, o.Nesterov)
	case o.Type == "SGD":
		opt, err = libtorch.NewSGD(params, o.Dampening, o.Nesterov)
	case device == libtorch.CUDA:
		opt, err = libtorch.NewDeviceAdamW(params, o.Beta2, o.Eps)
	default:
		opt, err = libtorch.NewAdamW(params, o.Beta2, o.Eps)
	}
	if err != nil {
		t.Fatal(err)
	}
	return opt, params
}

// TestOptimizers trains a linear classifier for 20 steps, with label smoothing, clipping, a moving average, and another
// lr and momentum in every step, and compares everything with PyTorch's distance from float64; also where a step might be
// skipped, but is not.
func TestOptimizers(t *testing.T) {
	const steps, n, features, classes = 20, 8, 30, 5
	const smoothing, clip, decay = 0.1, 0.7, 0.9
	var lrs, momenta []float64
	for i := range steps {
		lrs = append(lrs, 0.01*float64(i+1))
		momenta = append(momenta, 0.95-0.005*float64(i))
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
	want := pytorch.Call(t, "optimizers", map[string]any{
		"optimizers": optimizers, "lrs": lrs, "momenta": momenta, "label_smoothing": smoothing, "clip": clip, "decay": decay,
	}, checkpoint.StateDict{
		"x": pytorch.Pack(x, n, features), "labels": pytorch.Pack(labels, n),
		"weight": pytorch.Pack(weight, classes, features), "bias": pytorch.Pack(bias, classes),
	})

	train := func(t *testing.T, name string, o optimizer, foundInf libtorch.Tensor) {
		fc, ema := nn.Linear(features, classes, true), nn.Linear(features, classes, true)
		for _, m := range []*nn.LinearModule{fc, ema} {
			setFloats(t, onDevice(t, m.Weight, nil), weight)
			setFloats(t, onDevice(t, m.Bias, nil), bias)
		}
		opt, params := o.make(t, fc.Weight, fc.Bias)
		got := map[string][]float64{}
		for i := range steps {
			err := libtorch.Do(func(s *libtorch.Scope) {
				// 1×1 images with as many channels as features: the pool makes them N×features.
				mean, std := repeat(0.5, features), repeat(0.25, features)
				in := s.GlobalAvgPool(s.Images(images, n, 1, 1, mean, std, device))
				loss := libtorch.CrossEntropy{LabelSmoothing: smoothing}.Of(s, s.Linear(in, fc.Weight, fc.Bias), s.Labels(labels, device))
				s.Backward(loss)
				norm := s.Norm(s.GradNorms(params))
				s.ClipGradNorm(params, norm, clip)
				momentum := momenta[i]
				if o.Type == "SGD" && o.Momentum == 0 {
					momentum = 0
				}
				now := rate(s, lrs[i], momentum, decay)
				opt.Step(s, now, foundInf)
				s.Average([]libtorch.Tensor{ema.Weight, ema.Bias}, []libtorch.Tensor{fc.Weight, fc.Bias}, now)
				got["losses"] = append(got["losses"], floats(t, loss)...)
				got["norms"] = append(got["norms"], floats(t, norm)...)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		got["param.weight"], got["param.bias"] = floats(t, fc.Weight), floats(t, fc.Bias)
		got["ema.weight"], got["ema.bias"] = floats(t, ema.Weight), floats(t, ema.Bias)
		if o.Type != "SGD" || o.Momentum != 0 {
			for slot, tensors := range opt.State() {
				got[slot+".weight"], got[slot+".bias"] = floats(t, tensors[0]), floats(t, tensors[1])
			}
		}
		for k, v := range got { // every step rounds every number at least once
			theirs, exact := want[name+"/float32."+k], want[name+"/float64."+k]
			pytorch.AsExact(t, k, v, pytorch.Floats(theirs), pytorch.Floats(exact), 4, pytorch.Roundings(steps))
		}
		if made, err := opt.Steps(); err != nil || made != steps {
			t.Errorf("%d steps counted: %v", made, err)
		}
	}
	never := buffer(t, 1, 0)
	for name, o := range optimizers {
		t.Run(name, func(t *testing.T) { train(t, name, o, libtorch.Tensor{}) })
		t.Run(name+", with found_inf", func(t *testing.T) { train(t, name, o, never) })
	}
}

// TestGradScaler compares the scale and the weights after every step. In the first case gradients overflow by
// themselves as the scale grows, in the others they are made to, the very first ones too.
func TestGradScaler(t *testing.T) {
	const n = 6
	rng := rand.New(rand.NewPCG(3, 4))
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	gradients := func(steps int, size float32, bad map[int]float32) (grads []float32) {
		for i := range steps {
			row := normal(rng, n)
			for k := range row {
				row[k] *= size
			}
			if b, ok := bad[i]; ok {
				row[i%n] = b
			}
			grads = append(grads, row...)
		}
		return grads
	}
	bad := map[int]float32{0: inf, 1: nan, 5: -inf, 20: nan}
	tiny := optimizers["sgd, nesterov"]
	tiny.LR = 1e-34
	adamw, sgd := optimizers["adamw"], optimizers["sgd, dampening"]
	adamw.LR, sgd.LR = 0.01, 0.01
	for name, test := range map[string]struct {
		optimizer optimizer
		interval  int64
		tracker   int32 // steps without overflow before
		grads     []float32
	}{
		"overflow by itself":  {tiny, 4, 0, gradients(60, 3e32, nil)},
		"adamw":               {adamw, 3, 0, gradients(30, 1, bad)},
		"sgd":                 {sgd, 3, 0, gradients(30, 1, bad)},
		"PyTorch's arguments": {sgd, 0, 1997, gradients(5, 1, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			steps := int64(len(test.grads) / n)
			initial := normal(rng, n)
			want := pytorch.Call(t, "grad_scaler", map[string]any{"optimizer": test.optimizer, "interval": test.interval, "tracker": test.tracker},
				checkpoint.StateDict{"weight": pytorch.Pack(initial, 1, n), "grads": pytorch.Pack(test.grads, steps, 1, n)})
			fc := nn.Linear(n, 1, false)
			setFloats(t, onDevice(t, fc.Weight, nil), initial)
			opt, params := test.optimizer.make(t, fc.Weight)
			scaler, err := libtorch.NewGradScaler(device)
			if err != nil {
				t.Fatal(err)
			}
			in, err := libtorch.NewBuffer([]int64{1, n}, 0)
			in = onDevice(t, in, err)
			zero := buffer(t, 1, 0)
			if err := libtorch.SetBytes(scaler.GrowthTracker, binary.LittleEndian.AppendUint32(nil, uint32(test.tracker))); err != nil {
				t.Fatal(err)
			}
			var scales, weights []float64
			for i := range int(steps) {
				setFloats(t, in, test.grads[i*n:(i+1)*n])
				err := libtorch.Do(func(s *libtorch.Scope) {
					s.Backward(scaler.ScaleLoss(s, s.Linear(in, fc.Weight, zero))) // its gradient is the scaled input
					scaler.Unscale(s, params)
					opt.Step(s, rate(s, test.optimizer.LR, test.optimizer.Momentum, 0), scaler.FoundInf)
					if test.interval > 0 {
						scaler.UpdateEvery(s, test.interval)
					} else {
						scaler.Update(s)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				scales, weights = append(scales, floats(t, scaler.Scale)...), append(weights, floats(t, fc.Weight)...)
			}
			pytorch.Compare(t, "scales", scales, pytorch.Floats(want["scales"]), 0)
			// A step rounds a weight twice: its decay and its update. Moments count by the learning rate only.
			pytorch.Compare(t, "weights", weights, pytorch.Floats(want["weights"]), pytorch.Roundings(2*int(steps)))
			if fmt.Sprint(scales[0]) == fmt.Sprint(scales[len(scales)-1]) {
				t.Error("the scale did not change: the test tests nothing")
			}
		})
	}
}

// rate of a step, where the optimiser looks for it.
func rate(s *libtorch.Scope, lr, momentum, decay float64) libtorch.Rate {
	r := libtorch.Rate{LR: lr, Momentum: momentum, Decay: decay}
	if device == libtorch.CUDA {
		r.Device = s.Upload([]float64{lr, momentum, decay})
	}
	return r
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
