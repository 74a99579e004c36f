package quant

import "math"

// Limits of the integers of weights; both ends are in use, so that negating is exact.
const (
	// Full is for processors that add products of 8 bits in 32 bits: ARM, and x86-64 with VNNI.
	Full = 127
	// Reduced is for AVX2 without VNNI, which adds two products in 16 bits: 2·255·63 fits, 2·255·127 saturates.
	Reduced = 63
)

// Limit of the integers of weights.
func Limit(reduceRange bool) float64 {
	if reduceRange {
		return Reduced
	}
	return Full
}

// Weights are those of a convolution or of a linear layer: Ints[i] stands for Scales[channel]·Ints[i]. The output
// channels are the first dimension, all of the same size.
type Weights struct {
	Ints   []int8
	Scales []float32
}

// NewWeights quantises values, finite ones of float32, by the largest of each channel, to [-limit, limit], as torch.ao's
// PerChannelMinMaxObserver (qint8, per_channel_symmetric) and fake_quantize_per_channel_affine do.
func NewWeights(values []float64, channels int, limit float32) Weights {
	w := Weights{make([]int8, len(values)), make([]float32, channels)}
	size := len(values) / channels
	for c := range channels {
		var largest float32
		for _, v := range values[c*size : (c+1)*size] {
			largest = max(largest, float32(math.Abs(v)))
		}
		w.Scales[c] = max(largest/limit, eps)
		inverse := 1 / w.Scales[c]
		for i := c * size; i < (c+1)*size; i++ {
			q := math.RoundToEven(float64(float32(values[i]) * inverse))
			w.Ints[i] = int8(min(max(q, -float64(limit)), float64(limit)))
		}
	}
	return w
}

// Multiply multiplies each channel by a factor, such as γ/σ of the BatchNorm behind it. Integers change their sign where
// the factor is negative, and nothing else: folding rounds no weight again.
func (w Weights) Multiply(factors []float64) {
	size := len(w.Ints) / len(w.Scales)
	for c, f := range factors {
		w.Scales[c] = float32(float64(w.Scales[c]) * math.Abs(f))
		if f < 0 {
			for i := c * size; i < (c+1)*size; i++ {
				w.Ints[i] = -w.Ints[i]
			}
		}
	}
}

const (
	// maxBias leaves the sum of products room in 32 bits: 2³⁰ + 255·127·2¹⁵ < 2³¹.
	maxBias = 1 << 30
	// minScale, times the least scale of an input, is no denormal number.
	minScale = 0x1p-100
)

// Bias quantises a bias to int32 with the scales Scales[channel]·input.Scale, which it returns too. A channel whose
// weights are so small next to its bias that this does not fit, such as one with γ = 0, gets a larger scale first.
func (w Weights) Bias(bias []float64, input Affine) (ints []int32, scales []float32) {
	size := len(w.Ints) / len(w.Scales)
	for c, b := range bias {
		least := float32(max(math.Abs(b)/(maxBias*float64(input.Scale)), minScale))
		if was := w.Scales[c]; was < least {
			w.Scales[c] = least
			for i := c * size; i < (c+1)*size; i++ {
				w.Ints[i] = int8(math.RoundToEven(float64(w.Ints[i]) * float64(was) / float64(least)))
			}
		}
		scale := w.Scales[c] * input.Scale
		scales = append(scales, scale)
		ints = append(ints, int32(math.RoundToEven(b/float64(scale))))
	}
	return ints, scales
}
