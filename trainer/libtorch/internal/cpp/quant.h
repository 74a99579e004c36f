// Quantisation-aware training: fake quantisation (Jacob et al., 2018) as torch.ao has it, of activations by the affine
// uint8 of a range, of weights by the symmetric int8 of each output channel, with straight-through gradients.
//
// A tensor that was quantised holds the integers q - zero_point, from -255 to 255, each of which stands for its scale.
// Those are exact in bfloat16, and so are the weights, from -127 to 127; the numbers that they stand for are not. Scales
// come back in the epilogue of a convolution: quant_batch_norm.
#pragma once

#include "norm.h"

// The ranges of activations: float32 [n][2], the least and the greatest value, inf and -inf before the first one. With an
// averaging constant above 0 they move towards each tensor that is quantised, as torch.ao's MovingAverageMinMaxObserver.
struct Observers {
  at::Tensor ranges;
  double averaging;
  at::Tensor range(int64_t row) const { return ranges.select(0, row); }
};

// The scale and zero point of a range, without dimensions, where the range is.
struct Affine {
  at::Tensor scale, zero_point;
};
Affine affine_of(const at::Tensor &range);

// Moves a range to what a tensor with these ends makes of it.
void observe(const Observers &o, int64_t row, const at::Tensor &low, const at::Tensor &high);

// x as integers in float32, by range row, which moves first.
at::Tensor fake_quantize(const at::Tensor &x, const Observers &o, int64_t row);

// w [out][in][h][w] or [out][in] as integers in [-limit, limit], by the largest of each output channel now, and their scales.
std::pair<at::Tensor, at::Tensor> quantize_weights(const at::Tensor &w, double limit);

// The normalisation behind a convolution of integers with integers.
struct QuantBatchNorm {
  BatchNorm norm;
  Observers observers;
  int64_t input;             // row of what the convolution read
  at::Tensor weight_scales;  // of the convolution
  int64_t addend, term;      // rows, if there is an addend
  int64_t output;
  bool relu;
};

// f(batch_norm(x)) as integers, or f(term + add), where term is the quantised batch_norm(x) and add, which may be undefined,
// integers.
at::Tensor quant_batch_norm(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add);
