package libtorch

// #include <stdlib.h>
// #include "internal/cpp/libtorch.h"
import "C"

import "unsafe"

// Observers hold the ranges of the tensors that are fake-quantised, for quantisation-aware training.
//
// A quantised tensor holds the integers q − zero point, in its dtype, each of which stands for the scale of its range.
// They are exact in bfloat16, and so are those of weights.
type Observers struct {
	// Ranges is float32 n×2: the least and the greatest value of each, +Inf and −Inf before the first one.
	Ranges Tensor
	// Averaging is averaging_constant of torch.ao's MovingAverageMinMaxObserver: how far a range moves towards that of a
	// tensor, before the tensor is quantised by it; 0 leaves it.
	Averaging float64
}

func (o Observers) c() C.lt_observers {
	return C.lt_observers{ranges: c(o.Ranges), averaging: C.double(o.Averaging)}
}

// FakeQuantize quantises x by a range, as torch.ao's FakeQuantize (quint8, per_tensor_affine): to float32. The gradient
// is straight-through, 0 where x is outside of the range.
func (s *Scope) FakeQuantize(x Tensor, o Observers, row int) Tensor {
	return s.make("fake_quantize", func(out *C.lt_tensor) C.lt_message {
		return C.lt_fake_quantize(c(x), o.c(), C.int64_t(row), out)
	}, x, o.Ranges)
}

// QuantizeWeights returns weights as integers from −limit to limit, and the scales of the output channels, which are
// those of their largest weights now, as torch.ao's PerChannelMinMaxObserver (qint8, per_channel_symmetric).
func (s *Scope) QuantizeWeights(weight Tensor, limit float64) (integers, scales Tensor) {
	scales = s.make("quantize_weights", func(scales *C.lt_tensor) C.lt_message {
		var made C.lt_tensor
		m := C.lt_quantize_weights(c(weight), C.double(limit), &made, scales)
		if m == nil {
			h := new(unsafe.Pointer)
			*h = unsafe.Pointer(made)
			s.owned = append(s.owned, h)
			integers = Tensor{T: h}
		}
		return m
	}, weight)
	return integers, scales
}

// QuantBatchNorm is a BatchNorm behind a convolution of integers.
type QuantBatchNorm struct {
	*BatchNorm
	Observers
	// Rows of the ranges: of what the convolution read, of the normalised values, where something is added to them, of
	// the addend, and of the result.
	Input, Term, Addend, Output int
	// WeightScales are those of the convolution.
	WeightScales Tensor
}

// QuantBatchNorm is f(batch_norm(x)), quantised; with an addend, which is quantised, f(term + add), where term is the
// quantised batch_norm(x). f is ReLU or Identity. With frozen statistics gradients are those of constants.
func (s *Scope) QuantBatchNorm(n QuantBatchNorm, x, add Tensor, f Activation, training bool) Tensor {
	args := []Tensor{x, n.Weight, n.Bias, n.RunningMean, n.RunningVar, n.Ranges, n.WeightScales}
	if defined(add) {
		args = append(args, add)
	}
	return s.make("quant_batch_norm", func(out *C.lt_tensor) C.lt_message {
		q := (*C.lt_quant_norm)(C.calloc(1, C.sizeof_lt_quant_norm))
		defer C.free(unsafe.Pointer(q))
		*q = C.lt_quant_norm{
			weights:  [4]C.lt_tensor{c(n.Weight), c(n.Bias), c(n.RunningMean), c(n.RunningVar)},
			training: C.bool(training), momentum: C.double(n.Momentum), eps: C.double(n.Eps), group: n.Processes.handle(),
			observers: n.Observers.c(), weight_scales: c(n.WeightScales), input: C.int64_t(n.Input),
			addend: C.int64_t(n.Addend), term: C.int64_t(n.Term), output: C.int64_t(n.Output), relu: C.bool(f == ReLU),
		}
		var added C.lt_tensor
		if defined(add) {
			added = c(add)
		}
		return C.lt_quant_batch_norm(q, c(x), added, out)
	}, args...)
}

// QuantLeakyReLU is F.leaky_relu, with its default slope, of x, which is quantised by row input; quantised by row output.
func (s *Scope) QuantLeakyReLU(x Tensor, o Observers, input, output int) Tensor {
	return s.make("quant_leaky_relu", func(out *C.lt_tensor) C.lt_message {
		return C.lt_quant_leaky_relu(c(x), o.c(), C.int64_t(input), C.int64_t(output), out)
	}, x, o.Ranges)
}

// QuantLinear is the end of a network: the mean of quantised images N×C×H×W over height and width, quantised, by
// quantised weights, plus bias; all in float32. input and pooled are the rows of the ranges of x and of the mean.
func (s *Scope) QuantLinear(x Tensor, o Observers, input, pooled int, weight, bias Tensor, limit float64) Tensor {
	return s.make("quant_linear", func(out *C.lt_tensor) C.lt_message {
		return C.lt_quant_linear(c(x), o.c(), C.int64_t(input), C.int64_t(pooled), c(weight), c(bias), C.double(limit), out)
	}, x, o.Ranges, weight, bias)
}
