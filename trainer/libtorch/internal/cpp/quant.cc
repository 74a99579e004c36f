// Fake quantisation from libtorch's operations: wherever tensors are, without waiting for a device. On a CPU quant_norm.cc
// has a faster quant_batch_norm.
#include "quant.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guard.h"
#include "layout.h"
#include "quant_norm.h"
#include "simd.h"

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Affine affine_of(const at::Tensor &range) {
  at::Tensor low = range.select(0, 0).clamp_max(0), high = range.select(0, 1).clamp_min(0);
  at::Tensor scale = ((high - low) / 255).clamp_min(kQuantEps);
  return {scale, (low / scale).round().neg().clamp(0, 255)};
}

void observe(const Observers &o, int64_t row, const at::Tensor &low, const at::Tensor &high) {
  at::Tensor range = o.range(row).detach(), now = at::stack({low, high});
  at::Tensor moved = range + (now - range) * o.averaging;
  range.copy_(at::where(range.select(0, 0).gt(range.select(0, 1)), now, moved));
}

namespace {

struct Fake : torch::autograd::Function<Fake> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &scale, const at::Tensor &zero_point) {
    at::Tensor inverse = scale.reciprocal(), t = (x * inverse).round_();
    at::Tensor low = zero_point.neg(), high = low + 255;
    ctx->save_for_backward({t.ge(low).logical_and_(t.le(high)), inverse});
    return t.clamp_(low, high);
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    return {grads[0] * saved[0] * saved[1], at::Tensor(), at::Tensor()};
  }
};

// The gradient of a weight is that of its integer by the scale: none is clamped.
struct Weights : torch::autograd::Function<Weights> {
  static variable_list forward(AutogradContext *ctx, const at::Tensor &w, double limit) {
    int64_t channels = w.size(0), n = w.numel() / channels;
    std::vector<int64_t> shape(w.dim(), 1), rest;
    shape[0] = channels;
    for (int64_t d = 1; d < w.dim(); d++) rest.push_back(d);
    at::Tensor ints, scales;
    if (w.is_cpu() && w.is_non_overlapping_and_dense() && w.stride(0) == n && w.scalar_type() == at::kFloat) {
      ints = at::empty_like(w), scales = at::empty({channels}, w.options());
      const float *from = w.data_ptr<float>();
      float *to = ints.data_ptr<float>(), *scale = scales.data_ptr<float>();
      at::parallel_for(0, channels, 1, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; c++) simd().quant_weights(from + c * n, n, limit, scale + c, to + c * n);
      });
    } else {
      scales = (w.abs().amax(rest) / limit).clamp_min(kQuantEps);
      ints = (w * scales.reciprocal().view(shape)).round_().clamp_(-limit, limit);
    }
    ctx->mark_non_differentiable({scales});
    ctx->save_for_backward({scales.reciprocal().view(shape)});
    return {ints, scales};
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    return {grads[0] * ctx->get_saved_variables()[0], at::Tensor()};
  }
};

// What the integers of fake_quantize stand for.
at::Tensor quantised_value(const at::Tensor &x, const Observers &o, int64_t row) {
  at::Tensor integers = fake_quantize(x, o, row);  // first: it moves the range
  return integers * affine_of(o.range(row)).scale;
}

// The same from libtorch's operations, in float32.
at::Tensor composed(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add) {
  const Observers &o = q.observers;
  at::Tensor units = (q.weight_scales * affine_of(o.range(q.input)).scale).view({1, -1, 1, 1});
  at::Tensor v = batch_norm(q.norm, x.to(at::kFloat) * units, at::Tensor(), false);
  if (add.defined()) {
    v = quantised_value(v, o, q.term);
    v = v + add.to(at::kFloat) * affine_of(o.range(q.addend)).scale;
  }
  return fake_quantize(q.relu ? v.relu() : v, o, q.output).to(x.scalar_type());
}

}  // namespace

at::Tensor fake_quantize(const at::Tensor &x, const Observers &o, int64_t row) {
  at::Tensor real = x.to(at::kFloat);
  if (o.averaging > 0) {
    at::Tensor values = real.detach();
    if (values.dim() == 4) values = values.permute({0, 2, 3, 1});  // aminmax copies what is not in order
    auto [low, high] = at::aminmax(values);
    observe(o, row, low, high);
  }
  Affine a = affine_of(o.range(row));
  return Fake::apply(real, a.scale, a.zero_point);
}

std::pair<at::Tensor, at::Tensor> quantize_weights(const at::Tensor &w, double limit) {
  variable_list made = Weights::apply(w, limit);
  return {made[0], made[1]};
}

at::Tensor quant_batch_norm(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add) {
  return can_fuse_quantised(q, x, add) ? fused_quant_batch_norm(q, x, add) : composed(q, x, add);
}

static Observers observers_of(const lt_observers &o) { return {ref(o.ranges), o.averaging}; }

lt_message lt_fake_quantize(lt_tensor x, lt_observers o, int64_t row, lt_tensor *out) {
  return guard([&] { *out = handle(fake_quantize(ref(x), observers_of(o), row)); });
}

lt_message lt_quantize_weights(lt_tensor w, double limit, lt_tensor *integers, lt_tensor *scales) {
  return guard([&] {
    auto [i, s] = quantize_weights(ref(w), limit);
    *integers = handle(i), *scales = handle(s);
  });
}

lt_message lt_quant_batch_norm(const lt_quant_norm *q, lt_tensor x, lt_tensor add, lt_tensor *out) {
  return guard([&] {
    BatchNorm n = {ref(q->weights[0]), ref(q->weights[1]), ref(q->weights[2]), ref(q->weights[3]), q->training, q->momentum, q->eps, q->group};
    QuantBatchNorm norm = {n, observers_of(q->observers), q->input, ref(q->weight_scales), q->addend, q->term, q->output, q->relu};
    *out = handle(quant_batch_norm(norm, ref(x), add ? ref(add) : at::Tensor()));
  });
}

// The scale is that of the range as it is now: it may move before the backward pass.
lt_message lt_quant_leaky_relu(lt_tensor x, lt_observers o, int64_t input, int64_t output, lt_tensor *out) {
  return guard([&] {
    Observers observers = observers_of(o);
    at::Tensor real = ref(x).to(at::kFloat) * affine_of(observers.range(input)).scale;
    *out = handle(fake_quantize(at::leaky_relu(real), observers, output).to(ref(x).scalar_type()));
  });
}

// In float32: the sums are few, and logits shall not be rounded.
lt_message lt_quant_linear(lt_tensor x, lt_observers o, int64_t input, int64_t pooled, lt_tensor weight, lt_tensor bias, double limit,
                           lt_tensor *out) {
  return guard([&] {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    Observers observers = observers_of(o);
    at::Tensor mean = ref(x).to(at::kFloat).mean({2, 3}) * affine_of(observers.range(input)).scale;
    at::Tensor in = quantised_value(mean, observers, pooled);
    auto [integers, scales] = quantize_weights(ref(weight), limit);
    *out = handle(at::linear(in, integers * scales.unsqueeze(1), ref(bias)));
  });
}
