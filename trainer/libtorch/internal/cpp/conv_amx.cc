// Convolutions in bfloat16 on AMX, forward and backward. The rows of a product are 32 images at one pixel: each pixel is a sum
// over the kernel's taps that hit the image, so that padding costs nothing and any kernel, stride and size of map is the same
// loop. Other than oneDNN's of the day, it does not slow down on small maps.
//
// Results have the same bits in every run, and do not depend on the number of threads.
#include "conv_amx.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "amx.h"
#include "layout.h"

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr int64_t images_of_block = 32, channels_of_block = 32;
constexpr int64_t cache = 1 << 20;  // bytes of a core's second cache that a task may fill

uint16_t *data(const at::Tensor &x) { return static_cast<uint16_t *>(x.data_ptr()); }

// Calls f(index) in parallel, with the tiles of AMX.
template <class F>
void parallel(int64_t n, F f) {
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    AmxTiles tiles;
    for (int64_t i = begin; i < end; i++) f(i);
  });
}

// One dimension of a convolution: which inputs at which of the kernel's taps make an output.
struct Axis {
  struct Hit {
    int64_t from, tap;
  };
  std::vector<std::vector<Hit>> outputs;

  // The most inputs, from first to last, that so many outputs in a row need.
  int64_t most(int64_t at_once) const {
    int64_t most = 1;
    for (size_t o = 0; o < outputs.size(); o++) {
      int64_t first = -1, last = -1;
      for (size_t p = o; p < std::min(o + at_once, outputs.size()); p++)
        for (auto &hit : outputs[p]) first = first < 0 ? hit.from : std::min(first, hit.from), last = std::max(last, hit.from);
      most = std::max(most, last - first + 1);
    }
    return most;
  }

  static Axis forward(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding) {
    Axis axis{std::vector<std::vector<Hit>>(out)};
    hits(in, out, kernel, stride, padding, [&](int64_t i, int64_t o, int64_t tap) { axis.outputs[o].push_back({i, tap}); });
    return axis;
  }
  // From the gradient of the output to that of the input.
  static Axis backward(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding) {
    Axis axis{std::vector<std::vector<Hit>>(in)};
    hits(in, out, kernel, stride, padding, [&](int64_t i, int64_t o, int64_t tap) { axis.outputs[i].push_back({o, tap}); });
    return axis;
  }

 private:
  // Calls f(input, output, tap) for all that meet inside of the image.
  template <class F>
  static void hits(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding, F f) {
    for (int64_t o = 0; o < out; o++)
      for (int64_t t = 0; t < kernel; t++) {
        int64_t i = o * stride + t - padding;
        if (i >= 0 && i < in) f(i, o, t);
      }
  }
};

typedef void (*Pack)(const uint16_t *x, int64_t stride, int64_t images, uint16_t *to);

// A batch in channels_last, of which rows are packed for groups of 32 images: [row][pixel][block of 32 channels].
struct Batch {
  const uint16_t *memory;
  int64_t n, c, w, pixels;
  explicit Batch(const at::Tensor &x) : memory(data(x)), n(x.size(0)), c(x.size(1)), w(x.size(3)), pixels(x.size(2) * w) {}
  int64_t blocks() const { return c / channels_of_block; }
  int64_t groups() const { return (n + images_of_block - 1) / images_of_block; }
  int64_t row() const { return w * blocks(); }  // blocks in it
  int64_t images(int64_t group) const { return std::min(images_of_block, n - group * images_of_block); }

  void pack(Pack pack, int64_t group, int64_t row, uint16_t *to) const {
    for (int64_t p = row * w; p < (row + 1) * w; p++)
      for (int64_t b = 0; b < blocks(); b++, to += amx_block)
        pack(memory + (group * images_of_block * pixels + p) * c + b * channels_of_block, pixels * c, images(group), to);
  }
};

// Rows of one group that are packed when they are needed, in place of those that no longer are: few enough for the cache.
class Window {
 public:
  Window(const Batch &x, Pack pack, int64_t group, int64_t rows)
      : x(x), function(pack), group(group), rows(rows), memory(at::empty({rows * x.row() * amx_block}, at::kBFloat16)) {}
  // Packs all rows that outputs [first, last) need.
  void reach(const Axis &axis, int64_t first, int64_t last) {
    for (int64_t o = first; o < last; o++)
      for (auto &hit : axis.outputs[o]) {
        if (next < 0) next = hit.from;
        for (; next <= hit.from; next++) x.pack(function, group, next, data(memory) + next % rows * x.row() * amx_block);
      }
  }
  // The block in begin() that a pixel starts with.
  int32_t at(int64_t row, int64_t column) const { return (row % rows * x.w + column) * x.blocks(); }
  const uint16_t *begin() const { return data(memory); }

 private:
  const Batch &x;
  Pack function;
  int64_t group, rows, next = -1;
  at::Tensor memory;
};

// Weights as right factors: [block of outs][tap][block of ins].
struct Weights {
  int64_t taps, ins, outs;  // blocks
  at::Tensor memory;
  int64_t bytes() const { return 2 * taps * ins * amx_block; }  // of a block of outs
  const uint16_t *at(int64_t out) const { return data(memory) + out * taps * ins * amx_block; }
  // Turned, outs and ins are exchanged: for the gradient of the input.
  Weights(const at::Tensor &w, bool turned)
      : taps(w.size(2) * w.size(3)), ins(w.size(turned ? 0 : 1) / channels_of_block), outs(w.size(turned ? 1 : 0) / channels_of_block) {
    memory = at::empty({outs * taps * ins * amx_block}, at::kBFloat16);
    int64_t in = w.stride(turned ? 0 : 1), out = w.stride(turned ? 1 : 0);
    at::parallel_for(0, outs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; o++)
        for (int64_t t = 0; t < taps; t++)
          for (int64_t i = 0; i < ins; i++) {
            int64_t tap = t / w.size(3) * w.stride(2) + t % w.size(3) * w.stride(3);
            amx_weights(w.data_ptr<float>() + tap + channels_of_block * (o * out + i * in), in, out, data(memory) + ((o * taps + t) * ins + i) * amx_block);
          }
    });
  }
};

// The sum over taps for every pixel of the output.
at::Tensor convolve(const at::Tensor &x, const Weights &w, const Axis &rows, const Axis &columns, int64_t kernel) {
  Batch in(x);
  int64_t h = rows.outputs.size(), width = columns.outputs.size(), outs = w.outs * channels_of_block;
  at::Tensor y = at::empty({in.n, outs, h, width}, x.options(), at::MemoryFormat::ChannelsLast);
  // Weights that fit the cache are gone through for every row of outputs; others for as many rows as fit it.
  int64_t at_once = w.outs * w.bytes() <= cache / 2 ? 1 : std::clamp<int64_t>(cache / (2 * amx_block * in.row()), 1, h);
  int64_t window = rows.most(at_once);
  // A task is some rows of 32 images, and if those are few, some of the outputs.
  int64_t wanted = 2 * at::get_num_threads(), bands = std::clamp<int64_t>(wanted / in.groups(), 1, h / at_once);
  int64_t parts = std::clamp<int64_t>(wanted / (in.groups() * bands), 1, w.outs);
  parallel(in.groups() * bands * parts, [&](int64_t task) {
    int64_t part = task % parts, band = task / parts % bands, group = task / parts / bands;
    int64_t image = group * images_of_block, end = h * (band + 1) / bands;
    Window from(in, amx_rows, group, window);
    std::vector<AmxPair> pairs;
    std::vector<int64_t> first;  // of each pixel's pairs
    alignas(64) float c[32 * 32];
    for (int64_t r = h * band / bands; r < end; r += at_once) {
      int64_t last = std::min(r + at_once, end);
      from.reach(rows, r, last);
      pairs.clear(), first.clear();
      for (int64_t p = r; p < last; p++)
        for (auto &column : columns.outputs) {
          first.push_back(pairs.size());
          for (auto &i : rows.outputs[p])
            for (auto &j : column) pairs.push_back({from.at(i.from, j.from), int32_t((i.tap * kernel + j.tap) * w.ins)});
        }
      first.push_back(pairs.size());
      for (int64_t o = w.outs * part / parts; o < w.outs * (part + 1) / parts; o++)
        for (size_t p = 0; p + 1 < first.size(); p++) {
          amx_product(from.begin(), w.at(o), pairs.data() + first[p], first[p + 1] - first[p], w.ins, 1, 1, c, 32, false);
          amx_store(c, in.images(group), data(y) + ((image * h + r) * width + p) * outs + o * channels_of_block, h * width * outs);
        }
    }
  });
  return y;
}

// The gradient of weights: for each tap the sum over all images and pixels that it hits. In channels_last: [out][tap][in].
struct WeightGradient {
  const Axis &rows, &columns;
  int64_t kernel, taps, h, width, outs, ins;
  Batch dy, x;

  WeightGradient(const at::Tensor &x, const at::Tensor &dy, int64_t kernel, const Axis &rows, const Axis &columns)
      : rows(rows), columns(columns), kernel(kernel), taps(kernel * kernel), h(rows.outputs.size()), width(columns.outputs.size()),
        outs(dy.size(1)), ins(x.size(1)), dy(dy), x(x) {}

  // Pairs of pixels for every tap, of rows [first, last): those of dy lie one after the other.
  template <class At>
  std::vector<std::vector<AmxPair>> pairs(int64_t first, int64_t last, At at) const {
    std::vector<std::vector<AmxPair>> pairs(taps);
    for (int64_t r = first; r < last; r++)
      for (int64_t c = 0; c < width; c++)
        for (auto &i : rows.outputs[r])
          for (auto &j : columns.outputs[c])
            pairs[i.tap * kernel + j.tap].push_back({int32_t(((r - first) * width + c) * dy.blocks()), at(i.from, j.from)});
    return pairs;
  }

  void product(const uint16_t *a, const uint16_t *b, int64_t out, int64_t in, int64_t tap, const std::vector<AmxPair> &pairs,
               int64_t groups, float *to, bool add) const {
    float *c = to + (out * channels_of_block * taps + tap) * ins + in * channels_of_block;
    amx_product(a + out * amx_block, b + in * amx_block, pairs.data(), pairs.size(), groups, dy.pixels * dy.blocks(), x.pixels * x.blocks(),
                c, taps * ins, add);
  }

  // All of two blocks of channels fits the cache: a task is a block of weights.
  bool small() const { return 2 * amx_block * dy.groups() * (dy.pixels + x.pixels) <= cache; }

  void all_images(float *to) const {
    at::Tensor a = packed(dy, amx_columns), b = packed(x, amx_pairs);
    auto p = pairs(0, h, [&](int64_t row, int64_t column) { return int32_t((row * x.w + column) * x.blocks()); });
    parallel(dy.blocks() * x.blocks(), [&](int64_t i) {
      for (int64_t t = 0; t < taps; t++) product(data(a), data(b), i / x.blocks(), i % x.blocks(), t, p[t], dy.groups(), to, false);
    });
  }

  static at::Tensor packed(const Batch &x, Pack pack) {
    int64_t rows = x.pixels / x.w;
    at::Tensor memory = at::empty({x.groups() * rows * x.row() * amx_block}, at::kBFloat16);
    at::parallel_for(0, x.groups() * rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) x.pack(pack, i / rows, i % rows, data(memory) + i * x.row() * amx_block);
    });
    return memory;
  }

  // A few rows at a time, which fit the cache. A task is a part of the images; sums of parts are added up in their order.
  void few_rows(float *to) const {
    int64_t bands = std::clamp<int64_t>(8 / dy.groups(), 1, h), parts = std::min<int64_t>(8, dy.groups() * bands), size = outs * taps * ins;
    int64_t at_once = (31 + width) / width;
    at::Tensor sums = at::empty({parts, size}, at::kFloat);
    parallel(parts, [&](int64_t part) {
      bool add = false;
      at::Tensor a = at::empty({at_once * dy.row() * amx_block}, at::kBFloat16);
      for (int64_t i = part; i < dy.groups() * bands; i += parts) {
        int64_t group = i / bands, end = h * (i % bands + 1) / bands;
        Window b(x, amx_pairs, group, rows.most(at_once));
        for (int64_t r = h * (i % bands) / bands; r < end; r += at_once, add = true) {
          int64_t last = std::min(r + at_once, end);
          for (int64_t q = r; q < last; q++) dy.pack(amx_columns, group, q, data(a) + (q - r) * dy.row() * amx_block);
          b.reach(rows, r, last);
          auto p = pairs(r, last, [&](int64_t row, int64_t column) { return b.at(row, column); });
          for (int64_t out = 0; out < dy.blocks(); out++)
            for (int64_t in = 0; in < x.blocks(); in++)
              for (int64_t t = 0; t < taps; t++) product(data(a), b.begin(), out, in, t, p[t], 1, sums.data_ptr<float>() + part * size, add);
        }
      }
    });
    const float *from = sums.data_ptr<float>();
    at::parallel_for(0, size, 1 << 14, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) to[i] = from[i];
      for (int64_t part = 1; part < parts; part++)
        for (int64_t i = begin; i < end; i++) to[i] += from[part * size + i];
    });
  }
};

at::Tensor weight_gradient(const at::Tensor &x, const at::Tensor &dy, const at::Tensor &w, const Axis &rows, const Axis &columns) {
  at::Tensor dw = at::empty(w.sizes(), w.options(), at::MemoryFormat::ChannelsLast);
  WeightGradient g(x, dy, w.size(2), rows, columns);
  g.small() ? g.all_images(dw.data_ptr<float>()) : g.few_rows(dw.data_ptr<float>());
  return dw;
}

struct Amx : torch::autograd::Function<Amx> {
  static int64_t size(int64_t in, int64_t kernel, int64_t stride, int64_t padding) { return (in + 2 * padding - kernel) / stride + 1; }

  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &w, int64_t stride, int64_t padding) {
    at::Tensor input = channels_last(x);
    ctx->save_for_backward({input, w});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    int64_t kernel = w.size(2);
    auto axis = [&](int64_t in) { return Axis::forward(in, size(in, kernel, stride, padding), kernel, stride, padding); };
    return convolve(input, Weights(w, false), axis(x.size(2)), axis(x.size(3)), kernel);
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    at::Tensor x = saved[0], w = saved[1], dy = channels_last(grads[0].to(at::kBFloat16)), dx, dw;
    int64_t stride = ctx->saved_data["stride"].toInt(), padding = ctx->saved_data["padding"].toInt(), kernel = w.size(2);
    if (ctx->needs_input_grad(0)) {
      auto axis = [&](int64_t in, int64_t out) { return Axis::backward(in, out, kernel, stride, padding); };
      dx = convolve(dy, Weights(w, true), axis(x.size(2), dy.size(2)), axis(x.size(3), dy.size(3)), kernel);
    }
    if (ctx->needs_input_grad(1)) {
      auto axis = [&](int64_t in, int64_t out) { return Axis::forward(in, out, kernel, stride, padding); };
      dw = weight_gradient(x, dy, w, axis(x.size(2), dy.size(2)), axis(x.size(3), dy.size(3)));
    }
    return {dx, dw, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool can_use_amx(const at::Tensor &x, const at::Tensor &w) {
  return amx() && x.is_cpu() && x.dim() == 4 && w.scalar_type() == at::kFloat && w.size(2) == w.size(3) &&
         w.is_contiguous(at::MemoryFormat::ChannelsLast) && w.size(0) % channels_of_block == 0 && w.size(1) % channels_of_block == 0;
}

at::Tensor conv2d_amx(const at::Tensor &x, const at::Tensor &w, int64_t stride, int64_t padding) {
  return Amx::apply(x.to(at::kBFloat16), w, stride, padding);
}
