package quant_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
)

// TestPyTorch compares with torch.ao's observers and fake quantisation, bit for bit.
func TestPyTorch(t *testing.T) {
	ranges := []quant.Range{{0, 0}, {0, 6}, {-1, 1}, {1, 3}, {-3, -1}, {-1e-9, 1e-9}, {-1e-3, 1e4}, {-0.2784645, 17.31}}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		ranges = append(ranges, quant.Range{float32(-10 * rng.Float64()), float32(20 * rng.Float64())})
	}
	var ends []float32
	for _, r := range ranges {
		ends = append(ends, r.Min, r.Max)
	}
	const channels, size = 32, 1000
	weights := make([]float32, channels*size) // the first channel is 0
	for i := size; i < len(weights); i++ {
		weights[i] = float32(rng.NormFloat64() * math.Pow(2, float64(-i/size)))
	}
	for _, limit := range []float32{quant.Full, quant.Reduced} {
		want := pytorch.Call(t, "quantize", map[string]any{"limit": limit}, checkpoint.StateDict{
			"ranges": pytorch.Pack(ends, int64(len(ranges)), 2), "weights": pytorch.Pack(weights, channels, size)})
		var scales, zeros []float64
		for _, r := range ranges {
			a := r.Affine()
			scales, zeros = append(scales, float64(a.Scale)), append(zeros, float64(a.ZeroPoint))
		}
		values := make([]float64, len(weights))
		for i, v := range weights {
			values[i] = float64(v)
		}
		w := quant.NewWeights(values, channels, limit)
		var weightScales, ints []float64
		for _, s := range w.Scales {
			weightScales = append(weightScales, float64(s))
		}
		for _, q := range w.Ints {
			ints = append(ints, float64(q))
		}
		for name, got := range map[string][]float64{
			"scales": scales, "zeros": zeros, "weight_scales": weightScales, "ints": ints,
		} {
			if diff := cmp.Diff(pytorch.Floats(want[name]), got); diff != "" {
				t.Errorf("limit %v: %s (-PyTorch +got):\n%s", limit, name, diff)
			}
		}
	}
}

// TestFolded: weights that are quantised first and multiplied by γ/σ then are, but for a few that lie between two integers,
// those of torch.ao, which folds first.
func TestFolded(t *testing.T) {
	const channels, size = 512, 512 * 9
	rng := rand.New(rand.NewPCG(3, 4))
	weights, values, factors := make([]float32, channels*size), make([]float64, channels*size), make([]float32, channels)
	for i := range weights {
		weights[i] = float32(0.02 * rng.NormFloat64())
		values[i] = float64(weights[i])
	}
	multipliers := make([]float64, channels)
	for c := range factors {
		factors[c] = float32(rng.NormFloat64() / math.Sqrt(rng.ExpFloat64()))
		multipliers[c] = float64(factors[c])
	}
	want := pytorch.Call(t, "folded", map[string]any{"limit": quant.Full}, checkpoint.StateDict{
		"w": pytorch.Pack(weights, channels, size), "factors": pytorch.Pack(factors, channels)})
	w := quant.NewWeights(values, channels, quant.Full)
	w.Multiply(multipliers)
	differ := 0
	for i, v := range pytorch.Floats(want["ints"]) {
		if d := math.Abs(v - float64(w.Ints[i])); d > 1 {
			t.Fatalf("integer %d is %d, want %v", i, w.Ints[i], v)
		} else if d != 0 {
			differ++
		}
	}
	for c, v := range pytorch.Floats(want["scales"]) {
		if math.Abs(float64(w.Scales[c])-v) > 2e-7*v {
			t.Errorf("scale %d is %v, want %v", c, w.Scales[c], v)
		}
	}
	t.Logf("%d of %d integers differ", differ, len(w.Ints))
	if float64(differ) > 1e-5*float64(len(w.Ints)) {
		t.Errorf("%d of %d integers differ", differ, len(w.Ints))
	}
}

// A factor changes scales, and signs where it is negative; no integer is rounded again.
func TestMultiply(t *testing.T) {
	w := quant.NewWeights([]float64{127, -1, 127, -1, 127, -1}, 3, quant.Full)
	w.Multiply([]float64{2, -0.5, 0})
	if diff := cmp.Diff(quant.Weights{[]int8{127, -1, -127, 1, 127, -1}, []float32{2, 0.5, 0}}, w); diff != "" {
		t.Error(diff)
	}
}

// A channel that is next to nothing beside its bias, such as one with γ = 0, gets a scale with which the bias fits into
// 32 bits.
func TestBias(t *testing.T) {
	w := quant.Weights{[]int8{100, 100, 100, 100}, []float32{0.5, 0, 1e-12, 0}}
	input := quant.Affine{Scale: 0.25}
	ints, scales := w.Bias([]float64{3, -8, 8, 0}, input)
	if diff := cmp.Diff([]int8{100, 0, 0, 0}, w.Ints); diff != "" || ints[0] != 24 || scales[0] != 0.125 || ints[3] != 0 {
		t.Errorf("%v, scales %v, weights %v", ints, scales, w)
	}
	for i, want := range []float64{3, -8, 8, 0} {
		got := float64(ints[i]) * float64(scales[i])
		if math.Abs(got-want) > 1e-6*math.Abs(want) || !(scales[i] >= 0x1p-126) || scales[i] != w.Scales[i]*input.Scale {
			t.Errorf("bias %d is %v × %v, want %v", i, ints[i], scales[i], want)
		}
	}
}

func TestCalibration(t *testing.T) {
	var c quant.Calibration
	c.Add("x", quant.Range{1, 3})
	c.Add("x", quant.Range{-1, 2})
	if got := c.Ranges["x"]; got != (quant.Range{-1, 3}) || !got.Finite() {
		t.Errorf("got %v", got)
	}
	c.Add("x", quant.Range{float32(math.NaN()), 2})
	c.Add("x", quant.Range{-1, 2})
	if c.Ranges["x"].Finite() || (quant.Range{0, float32(math.Inf(1))}).Finite() {
		t.Error("a value that is not a number was forgotten")
	}
}
