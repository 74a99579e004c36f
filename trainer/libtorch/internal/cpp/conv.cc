// 3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3), forward and backward. A direct convolution needs four times as
// many products.
//
// Results have the same bits in every run, and do not depend on the number of threads.

// GCC 14 sees an overflow in the vector<bool> of libtorch's Function::apply, where there is none.
#pragma GCC diagnostic ignored "-Wstringop-overflow"

#include "conv.h"

#include <ATen/Parallel.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/slice.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "context.h"
#include "conv_amx.h"
#include "layout.h"
#include "simd.h"

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

constexpr int64_t line = 16;  // floats in a cache line

// Memory for the matrices of all faces, of rows × columns.
struct Buffer {
  at::Tensor memory;
  Faces faces;
  Buffer(int64_t rows, int64_t columns) {
    // An odd number of lines, so that neither rows nor faces compete for the same sets of a cache.
    faces.row = round_up(columns, 2 * line) + line;
    faces.face = round_up(rows * faces.row, 2 * line) + line;
    memory = at::empty({kFaces * faces.face}, at::kFloat);
    faces.data = memory.data_ptr<float>();
  }
  float *at(int64_t face, int64_t row, int64_t column) const {
    return faces.data + face * faces.face + row * faces.row + column;
  }
  // All faces from a row on.
  Faces from(int64_t row) const { return {at(0, row, 0), faces.row, faces.face}; }
};

template <class E>
const TileSimd<E> &tile_simd();
template <>
const TileSimd<float> &tile_simd() { return simd().tiles_float; }
template <>
const TileSimd<bf16> &tile_simd() { return simd().tiles_bf16; }

template <class E>
E *data(const at::Tensor &x) { return static_cast<E *>(x.data_ptr()); }

Image image_of(const at::Tensor &x) { return {x.size(2), x.size(3), x.size(1)}; }

// What the weights [k][c][3][3] are to the products: faces of [k / nr][c][nr].
struct Weights {
  int64_t outs, ins, panels, face;
  at::Tensor memory;
  float *at(int64_t f, int64_t panel) const { return memory.data_ptr<float>() + f * face + panel * ins * simd().nr; }

  // Turned, they are those of the convolution that takes gradients of the output to those of the input.
  Weights(const at::Tensor &w, bool turned) : outs(w.size(turned ? 1 : 0)), ins(w.size(turned ? 0 : 1)) {
    int64_t nr = simd().nr, stride[4] = {w.stride(0), w.stride(1), w.stride(2), w.stride(3)};
    const float *data = w.data_ptr<float>();
    if (turned) {
      data += 2 * stride[2] + 2 * stride[3];
      stride[2] = -stride[2], stride[3] = -stride[3];
      std::swap(stride[0], stride[1]);
    }
    panels = (outs + nr - 1) / nr;
    face = panels * ins * nr + line;
    memory = at::empty({kFaces * face}, at::kFloat);
    at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; p++) simd().weights(data, p * nr, outs, ins, stride, at(0, p), face);
    });
  }
};

// Numbers of a block of tiles, which is transformed, multiplied and transformed back while it is in the cache of a core.
constexpr int64_t tile_floats = 1 << 17;

// Tiles of a block that are enough for reading the weights of many channels to take less time than the products.
constexpr int64_t many_tiles = 120;

// Channels that are summed up at a time: long sums round more.
constexpr int64_t chunk = 128;

// Tiles of a block.
int64_t block_of(int64_t ins, int64_t outs) {
  int64_t fits = tile_floats / (kFaces * (ins + outs)), weights = kFaces * ins * outs;
  return std::max<int64_t>(weights < 2 * tile_floats ? 24 : many_tiles, fits);
}

int64_t blocks(int64_t n, int64_t block) { return (n + block - 1) / block; }

// Calls f(first, n) for blocks of n numbers from 0 to all, on many threads; on the calling one where it is one of many already.
template <class F>
void in_blocks(int64_t all, int64_t block, F f) {
  at::parallel_for(0, blocks(all, block), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) f(b * block, std::min(block, all - b * block));
  });
}

template <class E>
at::Tensor forward(const at::Tensor &x, const Weights &w) {
  const Simd &k = simd();
  const TileSimd<E> &of = tile_simd<E>();
  at::Tensor y = at::empty({x.size(0), w.outs, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  Image from = image_of(x), to = image_of(y);
  const E *in = data<E>(x);
  E *out = data<E>(y);
  int64_t tiles = x.size(0) * from.tiles(), block = std::min(tiles, block_of(w.ins, w.outs));
  auto some = [&](int64_t begin, int64_t end) {
    Buffer a(block, w.ins), c(block, w.panels * k.nr);
    for (int64_t b = begin; b < end; b++) {
      int64_t first = b * block, n = std::min(block, tiles - first);
      in_blocks(n, 8, [&](int64_t t, int64_t count) { of.input_tiles(in, from, first + t, count, a.from(t)); });
      in_blocks(kFaces * w.panels, 1, [&](int64_t i, int64_t) {
        int64_t f = i / w.panels, p = i % w.panels;
        for (int64_t l = 0; l < w.ins; l += chunk)
          k.product(n, std::min(chunk, w.ins - l), a.at(f, 0, l), a.faces.row, 1, w.at(f, p) + l * k.nr, k.nr,
                    c.at(f, 0, p * k.nr), c.faces.row, l > 0);
      });
      in_blocks(n, 8, [&](int64_t t, int64_t count) { of.output_tiles(c.from(t), to, first + t, count, out); });
    }
  };
  // A block a thread, or where there are few, all threads on one block.
  int64_t count = blocks(tiles, block);
  if (count < 2 * at::get_num_threads())
    some(0, count);
  else
    at::parallel_for(0, count, 1, some);
  return y;
}

// The gradient of the weights: for each face the product of the transposed input tiles with the output's gradients.
template <class E>
at::Tensor weight_gradient(const at::Tensor &x, const at::Tensor &dy, const at::Tensor &w) {
  const Simd &k = simd();
  const TileSimd<E> &of = tile_simd<E>();
  Image from = image_of(x), to = image_of(dy);
  const E *in = data<E>(x), *out = data<E>(dy);
  int64_t tiles = x.size(0) * from.tiles(), panels = blocks(to.c, k.nr);
  int64_t block = std::min(tiles, std::max(many_tiles, block_of(from.c, to.c)));
  Buffer a(block, from.c), b(block, panels * k.nr), u(from.c, panels * k.nr);
  if (panels * k.nr > to.c) b.memory.zero_();  // products of what memory happens to hold may be slow
  for (int64_t first = 0; first < tiles; first += block) {
    int64_t n = std::min(block, tiles - first);
    in_blocks(n, 8, [&](int64_t t, int64_t count) {
      of.input_tiles(in, from, first + t, count, a.from(t));
      of.output_tiles_back(out, to, first + t, count, b.from(t));
    });
    in_blocks(kFaces * panels, 1, [&](int64_t i, int64_t) {
      int64_t f = i / panels, column = i % panels * k.nr;
      k.product(from.c, n, a.at(f, 0, 0), 1, a.faces.row, b.at(f, 0, column), b.faces.row, u.at(f, 0, column), u.faces.row,
                first > 0);
    });
  }
  at::Tensor dw = at::empty_like(w);
  int64_t stride[4] = {dw.stride(0), dw.stride(1), dw.stride(2), dw.stride(3)};
  in_blocks(from.c, line, [&](int64_t c, int64_t count) {
    k.weights_back(u.from(c), count, to.c, stride, dw.data_ptr<float>() + c * stride[1]);
  });
  return dw;
}

// Of x in float32 or bfloat16, and w in float32.
template <class E>
struct Winograd : torch::autograd::Function<Winograd<E>> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &w) {
    at::Tensor input = channels_last(x);
    ctx->save_for_backward({input, w});
    return ::forward<E>(input, Weights(w, false));
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    at::Tensor x = saved[0], w = saved[1], dy = channels_last(grads[0].to(x.scalar_type())), dx, dw;
    if (ctx->needs_input_grad(0)) dx = ::forward<E>(dy, Weights(w, true));
    if (ctx->needs_input_grad(1)) dw = weight_gradient<E>(x, dy, w);
    return {dx, dw};
  }
};

}  // namespace

// oneDNN 2.6 writes past its memory in 1×1 convolutions with a stride where an image has few channels and many pixels, on AVX-512; so does
// PyTorch 1.13. Such a stride is a choice of pixels.
static bool breaks_onednn(const at::Tensor &x, const at::Tensor &w, int64_t stride) {
  return x.is_cpu() && w.size(2) == 1 && w.size(3) == 1 && stride > 1 && x.size(1) % 16 != 0;
}

at::Tensor conv2d(const at::Tensor &x, const at::Tensor &w, int64_t stride, int64_t padding) {
  if (breaks_onednn(x, w, stride) && padding == 0)
    return at::conv2d(at::slice(at::slice(x, 2, 0, c10::nullopt, stride), 3, 0, c10::nullopt, stride), w);
  if (!x.is_cpu() || !own_kernels()) return at::conv2d(x, w, {}, stride, padding);
  bool half = cpu_autocast() == at::kBFloat16;
  if (half && can_use_amx(x, w)) return conv2d_amx(x, w, stride, padding);
  bool fits = w.size(2) == 3 && w.size(3) == 3 && stride == 1 && padding == 1 && w.scalar_type() == at::kFloat &&
              (half || (cpu_autocast() == at::kFloat && x.scalar_type() == at::kFloat));
  // What the transforms cost must be spread over enough channels and outputs.
  bool pays = fits && x.size(1) >= 16 && w.size(0) >= 16 && std::min(x.size(2), x.size(3)) >= 3 &&
              x.size(0) * image_of(x).tiles() >= 16;
  if (!pays) return at::conv2d(x, w, {}, stride, padding);
  return half ? Winograd<bf16>::apply(x.to(at::kBFloat16), w) : Winograd<float>::apply(x, w);
}
