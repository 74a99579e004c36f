package libtorch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
)

// Rows of the ranges in the tests.
const input, addend, term, output, operand = 0, 1, 2, 3, 4

var rowNames = []string{"input", "addend", "term", "output", "operand"}

// quantStep is a fake-quantised layer under test.
type quantStep struct {
	in, out, size int64
	add, relu     bool
	leaky         bool // LeakyReLU, which reads a quantised operand
	dtype         libtorch.DType
}

const quantSteps, averaging = 3, 0.1

func (q quantStep) inputs() checkpoint.StateDict {
	rng := rand.New(rand.NewPCG(7, 8))
	d := checkpoint.StateDict{
		"w": random(rng, 0.1, 0, q.out, q.in, 3, 3), "g": random(rng, 0.3, 1, q.out), "b": random(rng, 1, 0, q.out),
		"m": random(rng, 1, 0, 5, q.out, q.size, q.size),
	}
	for step := range quantSteps {
		d[fmt.Sprintf("x%d", step)] = random(rng, 2, 0.5, 5, q.in, q.size, q.size)
		d[fmt.Sprintf("a%d", step)] = random(rng, 1, 0, 5, q.out, q.size, q.size)
	}
	return d
}

// run is quantised_layer in peer.py.
func (q quantStep) run(t *testing.T, in checkpoint.StateDict) map[string][]float64 {
	t.Helper()
	got := map[string][]float64{}
	observers := libtorch.Observers{Averaging: averaging}
	var err error
	if observers.Ranges, err = libtorch.NewBuffer([]int64{5, 2}, 0); err != nil {
		t.Fatal(err)
	}
	inf := float32(math.Inf(1))
	if err := libtorch.Upload(observers.Ranges, []float32{inf, -inf, inf, -inf, inf, -inf, inf, -inf, inf, -inf}); err != nil {
		t.Fatal(err)
	}
	bn := libtorch.BatchNorm{Momentum: 0.1, Eps: 1e-5, RunningMean: buffer(t, q.out, 0), RunningVar: buffer(t, q.out, 1)}
	for step := range quantSteps {
		last := step == quantSteps-1
		if last {
			observers.Averaging = 0
		}
		p := map[string]libtorch.Tensor{}
		for _, name := range []string{"w", "g", "b", "m"} {
			p[name] = parameter(t, in[name])
		}
		p["x"], p["a"] = parameter(t, in[fmt.Sprintf("x%d", step)]), parameter(t, in[fmt.Sprintf("a%d", step)])
		bn.Weight, bn.Bias = p["g"], p["b"]
		err := libtorch.Do(func(s *libtorch.Scope) {
			keep := func(name string, x libtorch.Tensor) {
				if s.Err() == nil {
					got[fmt.Sprintf("%d.%s", step, name)] = floats(t, x)
				}
			}
			var y, scales libtorch.Tensor
			s.Autocast(device, q.dtype, func() {
				var w, add libtorch.Tensor
				w, scales = s.QuantizeWeights(p["w"], quant.Full)
				y = s.Conv2d(s.FakeQuantize(p["x"], observers, input), w, 1, 1)
				if q.add {
					add = s.FakeQuantize(p["a"], observers, addend)
					if q.dtype == libtorch.BFloat16 { // which the output of a layer is
						add = s.Conv2d(add, parameter(t, identity(q.out)), 1, 0)
					}
				}
				f, out := libtorch.Identity, output
				if q.relu {
					f = libtorch.ReLU
				}
				if q.leaky {
					out = operand
				}
				y = s.QuantBatchNorm(libtorch.QuantBatchNorm{BatchNorm: &bn, Observers: observers, Input: input, Term: term,
					Addend: addend, Output: out, WeightScales: scales}, y, add, f, !last)
				if q.leaky {
					y = s.QuantLeakyReLU(y, observers, operand, output)
				}
			})
			keep("y", s.Float(y))
			keep("weight_scales", scales)
			ranges, err := libtorch.Values[float32](observers.Ranges)
			s.Fail(err)
			if s.Err() != nil {
				return
			}
			for i, name := range rowNames {
				a := quant.Range{Min: ranges[2*i], Max: ranges[2*i+1]}.Affine()
				got[fmt.Sprintf("%d.%s.scale", step, name)] = []float64{float64(a.Scale)}
				got[fmt.Sprintf("%d.%s.zero", step, name)] = []float64{float64(a.ZeroPoint)}
			}
			scale := got[fmt.Sprintf("%d.output.scale", step)][0]
			times := libtorch.GradScaler{Scale: p["m"]} // its ScaleLoss is a product
			s.Backward(s.Norm(times.ScaleLoss(s, s.Float(y))))
			for _, name := range []string{"x", "w", "g", "b", "a"} {
				if name != "a" || q.add {
					keep("d"+name, s.Grad(p[name]))
				}
			}
			for _, name := range []string{"y", "dx", "dw", "dg", "db", "da"} { // y are integers
				for i := range got[fmt.Sprintf("%d.%s", step, name)] {
					got[fmt.Sprintf("%d.%s", step, name)][i] *= scale
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		got[fmt.Sprintf("%d.mean", step)], got[fmt.Sprintf("%d.var", step)] = floats(t, bn.RunningMean), floats(t, bn.RunningVar)
	}
	return got
}

// TestQuantisedLayers compares with torch.ao's observers and fake quantisation, which round the same numbers where sums do not differ
// in their last digit: few integers do.
func TestQuantisedLayers(t *testing.T) {
	steps := map[string]quantStep{
		"hidden":            {in: 19, out: 24, size: 9, relu: true},
		"downsample":        {in: 16, out: 37, size: 7},
		"sum":               {in: 32, out: 64, size: 8, add: true, relu: true},
		"sum, odd channels": {in: 5, out: 11, size: 6, add: true, relu: true},
		"leaky":             {in: 19, out: 24, size: 9, leaky: true},
		"leaky sum":         {in: 32, out: 64, size: 8, add: true, leaky: true},
		"leaky, bfloat16":   {in: 32, out: 32, size: 8, add: true, leaky: true, dtype: libtorch.BFloat16},
		"hidden, bfloat16":  {in: 32, out: 32, size: 8, relu: true, dtype: libtorch.BFloat16},
		"sum, bfloat16":     {in: 32, out: 32, size: 8, add: true, relu: true, dtype: libtorch.BFloat16},
	}
	params, inputs, all := map[string]any{}, map[string]checkpoint.StateDict{}, checkpoint.StateDict{}
	for name, q := range steps {
		params[name] = map[string]any{"steps": quantSteps, "averaging": averaging, "limit": quant.Full, "add": q.add, "relu": q.relu, "leaky": q.leaky}
		inputs[name] = q.inputs()
		for k, v := range inputs[name] {
			all[name+"."+k] = v
		}
	}
	want := pytorch.Call(t, "quantised", params, all)
	for name, q := range steps {
		for _, kernels := range []string{"own", "libtorch"} {
			t.Run(name+", "+kernels, func(t *testing.T) {
				bfloat16 := q.dtype == libtorch.BFloat16
				if bfloat16 && !pytorch.HasBFloat16() {
					t.Skip("no convolutions in bfloat16")
				}
				if !bfloat16 {
					q.dtype = libtorch.Float32
				}
				t.Setenv("RESNET_KERNELS", kernels)
				in := inputs[name]
				got, again := q.run(t, in), q.run(t, in)
				for key, theirs := range want {
					key, ok := strings.CutPrefix(key, name+"/")
					if !ok {
						continue
					}
					exact := pytorch.Floats(theirs)
					_, what, _ := strings.Cut(key, ".")
					switch {
					case bfloat16:
						compareRounded(t, key, got[key], exact, 0.03)
					case strings.HasSuffix(what, "zero"):
						compareRounded(t, key, got[key], exact, 0)
					case what == "input.scale" || what == "addend.scale" || what == "weight_scales":
						compareRounded(t, key, got[key], exact, 2e-7)
					case strings.HasSuffix(what, "scale"), what == "mean", what == "var":
						compareRounded(t, key, got[key], exact, 1e-5)
					case what == "y":
						at := strings.TrimSuffix(key, "y")
						level := got[at+"output.scale"][0]
						if q.leaky { // which reads a quantised value, whose levels are further apart
							level = max(level, got[at+"operand.scale"][0])
						}
						compareInts(t, key, got[key], exact, level)
					default:
						compareRounded(t, key, got[key], exact, 0.01)
					}
					if fmt.Sprint(got[key]) != fmt.Sprint(again[key]) {
						t.Errorf("%s is not the same a second time", key)
					}
				}
			})
		}
	}
}

// TestFakeQuantise: by the same range, the integers are torch.ao's, all of them, and so are the gradients, those of values
// outside of the range, at its ends and between two integers included.
func TestFakeQuantise(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	ranges := []float32{0, 6, -1, 1, -0.3, 2.5, -3, -1, 1, 3, 0, 0}
	var x []float32
	for i := 0; i < len(ranges); i += 2 {
		scale := (max(ranges[i+1], 0) - min(ranges[i], 0)) / 255
		for k := range 520 {
			middle := (float32(k) - 260 + 0.5) * scale
			x = append(x, middle, math.Nextafter32(middle, 1), math.Nextafter32(middle, -1))
		}
	}
	in := checkpoint.StateDict{
		"x": pytorch.Pack(x, 1, int64(len(x))), "m": random(rng, 1, 0, 1, int64(len(x))),
		"ranges": pytorch.Pack(ranges, int64(len(ranges)/2), 2),
		"w":      random(rng, 0.1, 0, 1, 1000), "mw": random(rng, 1, 0, 1, 1000),
	}
	want := pytorch.Call(t, "fake", map[string]any{"limit": quant.Full}, in)
	observers := libtorch.Observers{}
	var err error
	if observers.Ranges, err = libtorch.NewBuffer([]int64{int64(len(ranges) / 2), 2}, 0); err != nil {
		t.Fatal(err)
	}
	if err := libtorch.Upload(observers.Ranges, ranges); err != nil {
		t.Fatal(err)
	}
	// What ours gives are integers, and gradients are those of integers.
	compare := func(s *libtorch.Scope, prefix string, x, ints, m libtorch.Tensor) {
		s.Backward(s.Linear(ints, m, buffer(t, 1, 0)))
		if s.Err() != nil {
			return
		}
		y, dx := floats(t, ints), floats(t, s.Grad(x))
		scale := pytorch.Floats(want[prefix+"scale"])[0]
		grads := pytorch.Floats(want[prefix+"dx"])
		for i, v := range pytorch.Floats(want[prefix+"y"]) {
			if y[i] != math.Round(v/scale) || (grads[i] == 0) != (dx[i] == 0) ||
				math.Abs(dx[i]*scale-grads[i]) > 2e-7*math.Abs(grads[i]) {
				t.Fatalf("%s%d is %v, want %v; gradient %v, want %v", prefix, i, y[i], v/scale, dx[i]*scale, grads[i])
			}
		}
	}
	err = libtorch.Do(func(s *libtorch.Scope) {
		for row := range len(ranges) / 2 {
			x := parameter(t, in["x"])
			compare(s, fmt.Sprintf("%d.", row), x, s.FakeQuantize(x, observers, row), parameter(t, in["m"]))
		}
		w := parameter(t, in["w"])
		ints, scales := s.QuantizeWeights(w, quant.Full)
		compare(s, "w.", w, ints, parameter(t, in["mw"]))
		if got, want := floats(t, scales), pytorch.Floats(want["w.scale"]); got[0] != want[0] {
			t.Errorf("the scale of the weights is %v, want %v", got, want)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// compareRounded fails if the distance is more than a share of all.
func compareRounded(t *testing.T, name string, got, want []float64, all float64) {
	t.Helper()
	if d := pytorch.Distance(got, want); !(d <= all) {
		t.Errorf("%s: off by a share of %.2e, allowed is %.0e", name, d, all)
	}
}

// compareInts fails if integers differ by more than 1, or more than a few in a thousand at all.
func compareInts(t *testing.T, name string, got, want []float64, scale float64) {
	t.Helper()
	differ := 0
	for i := range want {
		d := math.Abs(got[i]-want[i]) / scale
		if d > 1.1 {
			t.Errorf("%s: %v at %d, want %v", name, got[i], i, want[i])
			return
		}
		if d > 0.5 {
			differ++
		}
	}
	if differ*500 > len(want) {
		t.Errorf("%s: %d of %d integers differ", name, differ, len(want))
	}
}
