// Fake quantisation folded into batch normalisation, an addition and ReLU. What is normalised are integers, x, which stand
// for units of their channel: normalising them as they are differs only in eps. The range of f(batch_norm(x)) follows from
// that of each channel of x, so that observing it costs no pass; only the range of a sum does.
#include "quant_norm.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>

#include "device.h"
#include "layout.h"
#include "norm_statistics.h"

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// The ends of t for which the nearest integer, ties to even, is at most (least) n.
float last_to(int n) { return n % 2 == 0 ? n + 0.5f : std::nextafter(n + 0.5f, 0.f); }
float first_to(int n) { return n % 2 == 0 ? n - 0.5f : std::nextafter(n - 0.5f, float(n)); }

FakeQuant fake_quant(const Observers &o, int64_t row) {
  const float *range = o.ranges.data_ptr<float>() + 2 * row;
  float low = std::min(range[0], 0.f), high = std::max(range[1], 0.f);
  float scale = std::max((high - low) / 255, kQuantEps);
  int zero_point = std::min(std::max(-std::nearbyint(low / scale), 0.f), 255.f);
  return {scale, 1 / scale, float(-zero_point), float(255 - zero_point), first_to(-zero_point), last_to(255 - zero_point)};
}

struct Ends {
  float low = INFINITY, high = -INFINITY;
  void join(float l, float h) { low = std::min(low, l), high = std::max(high, h); }
};

void observe(const Observers &o, int64_t row, Ends now) {
  float *range = o.ranges.data_ptr<float>() + 2 * row, c = o.averaging;
  if (range[0] > range[1])
    range[0] = now.low, range[1] = now.high;
  else
    range[0] += c * (now.low - range[0]), range[1] += c * (now.high - range[1]);
}

// The least and the greatest number of each channel, gathered block by block.
struct Extremes {
  Rows rows;
  const at::Tensor &x;
  at::Tensor parts;
  explicit Extremes(const at::Tensor &x) : rows(x), x(x), parts(at::empty({rows.blocks, 2, rows.c}, at::kFloat)) {}
  void block(int64_t b, int64_t first, int64_t n) const {
    float *low = parts.data_ptr<float>() + 2 * b * rows.c;
    dispatch(x, [&](auto &k, auto e) { k.extremes(from<decltype(e)>(x, first), n, rows.c, low, low + rows.c); });
  }
  void all() const {
    rows.each([&](int64_t b, int64_t first, int64_t n) { block(b, first, n); });
  }
  // Of x·scale + shift, which is monotonic in x, and of ReLU of it.
  Ends normalised(Norm n, bool relu) const {
    Ends ends;
    std::vector<Ends> channels(rows.c);
    const float *p = parts.data_ptr<float>();
    for (int64_t b = 0; b < rows.blocks; b++, p += 2 * rows.c)
      for (int64_t i = 0; i < rows.c; i++) channels[i].join(p[i], p[rows.c + i]);
    for (int64_t i = 0; i < rows.c; i++)
      for (float x : {channels[i].low, channels[i].high}) {
        float y = x * n.scale[i] + n.shift[i];
        if (relu) y = std::max(y, 0.f);
        ends.join(y, y);
      }
    return ends;
  }
};

Ends sum_ends(const at::Tensor &x, const at::Tensor &add, Norm n, bool relu, const QuantNorm &q) {
  Rows r(x);
  std::vector<Ends> parts(r.blocks);
  dispatch(x, [&](auto &k, auto e) {
    typedef decltype(e) E;
    r.each([&](int64_t b, int64_t first, int64_t rows) {
      k.quant_sum_extremes(from<E>(x, first), from<E>(add, first), rows, r.c, n, relu, q, &parts[b].low, &parts[b].high);
    });
  });
  Ends ends;
  for (auto &part : parts) ends.join(part.low, part.high);
  return ends;
}

// What a unit of each channel of x stands for.
std::vector<double> units_of(const QuantBatchNorm &q) {
  const float *scales = q.weight_scales.data_ptr<float>();
  double input = fake_quant(q.observers, q.input).scale;
  std::vector<double> units(q.weight_scales.numel());
  for (size_t i = 0; i < units.size(); i++) units[i] = input * scales[i];
  return units;
}

struct Forward {
  at::Tensor y, statistics, passes, units;
  double rows = 0;
  QuantNorm quant = {};

  Forward(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add, bool gradient) {
    std::vector<double> k = units_of(q);
    units = at::empty({int64_t(k.size())}, at::kDouble);
    std::memcpy(units.data_ptr(), k.data(), k.size() * sizeof(double));
    const Observers &o = q.observers;
    bool observes = o.averaging > 0;
    Extremes extremes(x);
    if (q.norm.training) {
      std::function<void(int64_t, int64_t, int64_t)> visit;
      if (observes) visit = [&](int64_t b, int64_t first, int64_t n) { extremes.block(b, first, n); };
      statistics = batch_statistics(q.norm, x, &rows, k.data(), visit);
    } else {
      statistics = running_statistics(q.norm, x, k.data());
      if (observes) extremes.all();
    }
    Norm n = norm_of(statistics);
    if (add.defined()) {
      if (observes) observe(o, q.term, extremes.normalised(n, false));
      quant.term = fake_quant(o, q.term), quant.add = fake_quant(o, q.addend).scale;
      if (observes) observe(o, q.output, sum_ends(x, add, n, q.relu, quant));
    } else if (observes) {
      observe(o, q.output, extremes.normalised(n, q.relu));
    }
    quant.out = fake_quant(o, q.output);
    if (add.defined() && gradient) passes = at::empty(x.sizes(), x.options().dtype(at::kByte), at::MemoryFormat::ChannelsLast);
    y = at::empty_like(x);
    Rows r(x);
    dispatch(x, [&](auto &k, auto e) {
      typedef decltype(e) E;
      r.each([&](int64_t, int64_t first, int64_t rows) {
        k.quant_forward(from<E>(x, first), from<E>(add, first), rows, r.c, n, q.relu, quant, from<E>(y, first), from<uint8_t>(passes, first));
      });
    });
  }
};

struct Fused : torch::autograd::Function<Fused> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias,
                            const Optional<at::Tensor> &added, const QuantBatchNorm &q) {
    at::Tensor add = added.value_or(at::Tensor());
    Forward f(q, x, add, true);
    at::Tensor quant = at::empty({int64_t(sizeof f.quant)}, at::kByte);  // ranges move before the backward pass
    std::memcpy(quant.data_ptr(), &f.quant, sizeof f.quant);
    ctx->save_for_backward({x, f.statistics, f.passes, f.units, quant});
    ctx->saved_data["relu"] = q.relu;
    ctx->saved_data["add"] = add.defined();
    ctx->saved_data["training"] = q.norm.training;
    ctx->saved_data["group"] = int64_t(q.norm.group);
    ctx->saved_data["rows"] = f.rows;
    return f.y;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    at::Tensor x = saved[0], statistics = saved[1], passes = saved[2], dy = channels_last(grads[0].to(x.scalar_type()));
    bool relu = ctx->saved_data["relu"].toBool(), add = ctx->saved_data["add"].toBool(), training = ctx->saved_data["training"].toBool();
    uintptr_t group = ctx->saved_data["group"].toInt();
    double rows_of_all = ctx->saved_data["rows"].toDouble();
    const double *units = saved[3].data_ptr<double>();
    QuantNorm q;
    std::memcpy(&q, saved[4].data_ptr(), sizeof q);
    Rows r(x);
    Norm n = norm_of(statistics);
    at::Tensor passed = add ? at::empty_like(x) : at::Tensor(), parts = at::empty({r.blocks, 2, r.c}, at::kFloat);
    float *p = parts.data_ptr<float>();
    dispatch(x, [&](auto &k, auto e) {
      typedef decltype(e) E;
      r.each([&](int64_t b, int64_t first, int64_t rows) {
        float *sum = p + 2 * b * r.c;
        k.quant_sums(from<E>(dy, first), from<E>(x, first), from<uint8_t>(passes, first), rows, r.c, n, relu, q, sum, sum + r.c,
                     from<E>(passed, first));
      });
    });
    std::vector<double> sums(2 * r.c);
    double *sum = sums.data(), *product = sum + r.c;
    for (int64_t b = 0; b < r.blocks; b++, p += 2 * r.c)
      for (int64_t i = 0; i < r.c; i++) sum[i] += p[i], product[i] += p[r.c + i];
    at::Tensor dweight = at::empty({r.c}, at::kFloat), dbias = at::empty({r.c}, at::kFloat), slopes = at::zeros({2, r.c}, at::kFloat);
    float *slope = slopes.data_ptr<float>(), *offset = slope + r.c;
    const float *invstd = statistics.data_ptr<float>() + kInvStd * r.c;
    for (int64_t i = 0; i < r.c; i++) {
      dweight.data_ptr<float>()[i] = product[i] * invstd[i];
      dbias.data_ptr<float>()[i] = sum[i];
    }
    if (training) {
      // Units differ from process to process: what is summed are real numbers.
      for (int64_t i = 0; group && i < r.c; i++) product[i] *= units[i];
      if (group) all_reduce(group, sums);
      for (int64_t i = 0; group && i < r.c; i++) product[i] /= units[i];
      for (int64_t i = 0; i < r.c; i++) {
        slope[i] = n.scale[i] * product[i] * invstd[i] * invstd[i] / rows_of_all;
        offset[i] = n.scale[i] * sum[i] / rows_of_all;
      }
    }
    at::Tensor dx = at::empty_like(x), d = add ? passed : dy;
    dispatch(x, [&](auto &k, auto e) {
      typedef decltype(e) E;
      r.each([&](int64_t, int64_t first, int64_t rows) {
        k.quant_backward(from<E>(d, first), from<E>(x, first), add, rows, r.c, n, relu, q, slope, offset, from<E>(dx, first));
      });
    });
    return {dx, dweight, dbias, passed, at::Tensor()};
  }
};

}  // namespace

bool can_fuse_quantised(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add) {
  BatchNorm batch = q.norm;
  batch.training = true;  // statistics that do not move are no hindrance here
  return !has_kernels(x) && x.is_cpu() && can_fuse(batch, x, add) && q.observers.ranges.is_cpu();
}

at::Tensor fused_quant_batch_norm(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add) {
  if (!at::GradMode::is_enabled()) return Forward(q, x, add, false).y;
  return Fused::apply(x, q.norm.weight, q.norm.bias, add.defined() ? Optional<at::Tensor>(add) : Optional<at::Tensor>(), q);
}
