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
