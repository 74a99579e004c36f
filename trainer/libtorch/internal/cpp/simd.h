// The loops of conv.cc, norm.cc and optimizer.cc, on plain memory, once for every instruction set that is worth it.
// simd.cc compiles kernels.h for each, simd() is what suits this processor.
#pragma once

#include <cstddef>
#include <cstdint>

// Winograd's F(4×4, 3×3) (Lavin and Gray, 2015): a tile of 6×6 inputs gives 4×4 outputs by 36 products, not 144. Its points are
// 0, ±5/8, ±3/2 and ∞, with which it rounds half as much as with the usual 0, ±1, ±2.
//
// In the domain of the products a tile is 36 numbers, here called faces, for every channel. Faces lie apart: a block of
// tiles is 36 matrices of tiles × channels, and the convolution is 36 matrix products.
struct Image {  // of one batch, channels_last
  int64_t h, w, c;
  int64_t rows() const { return (h + 3) / 4; }  // of tiles
  int64_t columns() const { return (w + 3) / 4; }
  int64_t tiles() const { return rows() * columns(); }
};

constexpr int64_t kFaces = 36;

struct Faces {  // matrices; rows are padded so that the processor's caches do not alias
  float *data;
  int64_t row, face;  // strides
};

// Batch normalisation of rows × c numbers. What it needs of a batch, per channel: y = x·scale + shift.
struct Norm {
  const float *mean, *scale, *shift;
};

struct bf16 {  // bfloat16, with its plain bits
  uint16_t bits;
};

constexpr float kQuantEps = 1.f / (1 << 23);  // the least scale: torch.finfo(torch.float32).eps

// Fake quantisation of a tensor: v becomes the integer nearest to t = v·inverse, from low to high, which stands for scale
// times itself. Gradients pass (straight-through) where t is from first to last.
struct FakeQuant {
  float scale, inverse, low, high, first, last;
};

// What is quantised around a normalisation: out, which is f(batch_norm(x)), or with an addend of integers, each of which
// stands for add, f(term + addend), where term is the quantised batch_norm(x).
struct QuantNorm {
  FakeQuant out, term;
  float add;
};

// f(batch_norm(x) + add), where add may be NULL and f is the identity or ReLU. E is what memory holds: float or bf16.
template <class E>
struct NormSimd {
  // mean[c], and the sum of squares around it.
  void (*moments)(const E *x, int64_t rows, int64_t c, float *mean, float *squares);
  void (*forward)(const E *x, const E *add, int64_t rows, int64_t c, Norm, bool relu, E *y);
  // The sums of dy and of dy·(x - mean), where ReLU let it through. That is where y, if not NULL, is positive, or
  // else x·scale + shift. If passed is not NULL, it becomes the gradient of add: dy behind ReLU.
  void (*sums)(const E *dy, const E *x, const E *y, int64_t rows, int64_t c, Norm, bool relu, float *sum, float *product,
               E *passed);
  // dx = dy·scale - (x - mean)·slope - offset; relu as above.
  void (*backward)(const E *dy, const E *x, int64_t rows, int64_t c, Norm, bool relu, const float *slope,
                   const float *offset, E *dx);

  // The least and the greatest number of each channel.
  void (*extremes)(const E *x, int64_t rows, int64_t c, float *low, float *high);
  // Widens [low, high] to f(term + addend).
  void (*quant_sum_extremes)(const E *x, const E *add, int64_t rows, int64_t c, Norm, bool relu, QuantNorm, float *low, float *high);
  // y as integers. passes, if not NULL, becomes 1 where the gradient of out is that of what was quantised, else 0.
  void (*quant_forward)(const E *x, const E *add, int64_t rows, int64_t c, Norm, bool relu, QuantNorm, E *y, uint8_t *passes);
  // As sums and backward. passes is NULL without an addend, else passed becomes its gradient.
  void (*quant_sums)(const E *dy, const E *x, const uint8_t *passes, int64_t rows, int64_t c, Norm, bool relu, QuantNorm, float *sum,
                     float *product, E *passed);
  void (*quant_backward)(const E *dy, const E *x, bool add, int64_t rows, int64_t c, Norm, bool relu, QuantNorm, const float *slope,
                         const float *offset, E *dx);
};

struct AdamW {  // the numbers of one step; 1 - beta is computed in float64, since little of it would be left in float32
  float decay, beta1, one_minus_beta1, beta2, one_minus_beta2, sqrt_correction2, eps, step_size;
};

// What memory holds of a convolution's images: E is float or bf16.
template <class E>
struct TileSimd {
  // Tiles [first, first + n) of a batch: BᵀdB of its 6×6 pixels with padding 1, and A g Aᵀ of its 4×4 pixels.
  void (*input_tiles)(const E *x, Image, int64_t first, int64_t n, Faces to);
  void (*output_tiles_back)(const E *y, Image, int64_t first, int64_t n, Faces to);
  // The inverse: Aᵀ m A to 4×4 pixels.
  void (*output_tiles)(Faces from, Image, int64_t first, int64_t n, E *y);
};

struct Simd {
  int64_t nr;  // columns of a product
  TileSimd<float> tiles_float;
  TileSimd<bf16> tiles_bf16;
  // G w Gᵀ of 3×3 weights [k][·][·][c], given by strides, for nr output channels from k on: faces of [c][nr]. Outputs beyond
  // outs are 0.
  void (*weights)(const float *w, int64_t k, int64_t outs, int64_t ins, const int64_t stride[4], float *to, int64_t face);
  // The inverse for gradients: Gᵀ u G.
  void (*weights_back)(Faces from, int64_t ins, int64_t outs, const int64_t stride[4], float *w);
  // C = A·B or C += A·B, with C of m × nr. A is given by its strides, B and C by that of their rows.
  void (*product)(int64_t m, int64_t n, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_row,
                  float *c, int64_t c_row, bool add);

  // A step of n weights, in one pass over the memory: of the gradient and both moments.
  void (*adamw)(float *weights, const float *grads, float *exp_avg, float *exp_avg_sq, int64_t n, AdamW);

  // The weights of an output channel as integers in [-limit, limit], each of which stands for scale: symmetric, by the largest.
  void (*quant_weights)(const float *w, int64_t n, float limit, float *scale, float *integers);

  NormSimd<float> norm_float;
  NormSimd<bf16> norm_bf16;
};

// For this processor, or the lesser one that ATEN_CPU_CAPABILITY in the environment asks for, as of libtorch itself.
const Simd &simd();

// Whether operations of our own shall be used: not with RESNET_KERNELS=libtorch in the environment. Then every operation is
// libtorch's own, and a training has the very numbers of PyTorch.
bool own_kernels();
