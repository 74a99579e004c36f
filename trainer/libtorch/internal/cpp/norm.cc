// Batch normalisation, an addition and ReLU in one pass over the memory forward, two backward. Nothing but the
// input, and with an addition the output, is kept for the latter.
//
// Statistics are those of blocks of rows, in float32, joined in float64 in their order (Chan et al., 1979): the same
// bits in every run and for any number of threads. Of several processes, whose images are normalised together, they are
// joined by sums in float64.
#include "norm.h"

#include <ATen/ops/batch_norm.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layout.h"
#include "norm_device.h"
#include "norm_statistics.h"

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

at::Tensor normalise(const at::Tensor &x, const at::Tensor &add, const at::Tensor &statistics, bool relu) {
  if (device_can_normalise(x)) return device_normalise(x, add, statistics, relu);
  at::Tensor y = at::empty_like(x);
  Rows r(x);
  dispatch(x, [&](auto &k, auto e) {
    typedef decltype(e) E;
    r.each([&](int64_t, int64_t first, int64_t rows) {
      k.forward(from<E>(x, first), from<E>(add, first), rows, r.c, norm_of(statistics), relu, from<E>(y, first));
    });
  });
  return y;
}

struct Fused : torch::autograd::Function<Fused> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias,
                            const Optional<at::Tensor> &added, const BatchNorm &n, bool relu) {
    double rows = 0;
    at::Tensor add = added.value_or(at::Tensor()), statistics = batch_statistics(n, x, &rows);
    at::Tensor y = normalise(x, add, statistics, relu);
    bool keep = relu && add.defined();
    ctx->save_for_backward({x, statistics, keep ? y : at::Tensor()});
    ctx->saved_data["relu"] = relu;
    ctx->saved_data["add"] = add.defined();
    ctx->saved_data["group"] = int64_t(n.group);
    ctx->saved_data["rows"] = rows;
    return y;
  }

  static variable_list gradients(const at::Tensor &dy, const at::Tensor &x, const at::Tensor &y, const at::Tensor &statistics,
                                 bool relu, bool add, uintptr_t group, double rows_of_all) {
    if (device_can_normalise(x)) {
      NormGradients g = device_gradients(dy, x, y, statistics, relu, add);
      return {g.dx, g.dweight, g.dbias, g.dadd, at::Tensor(), at::Tensor()};
    }
    Rows r(x);
    Norm n = norm_of(statistics);
    // Behind ReLU the gradient is that of add, and of the normalisation.
    at::Tensor passed = relu && add ? at::empty_like(dy) : at::Tensor();
    at::Tensor parts = at::empty({r.blocks, 2, r.c}, at::kFloat);
    float *p = parts.data_ptr<float>();
    dispatch(x, [&](auto &k, auto e) {
      typedef decltype(e) E;
      r.each([&](int64_t b, int64_t first, int64_t rows) {
        float *sum = p + 2 * b * r.c;
        k.sums(from<E>(dy, first), from<E>(x, first), from<E>(y, first), rows, r.c, n, relu, sum, sum + r.c, from<E>(passed, first));
      });
    });
    std::vector<double> sums(2 * r.c);
    double *sum = sums.data(), *product = sum + r.c;
    for (int64_t b = 0; b < r.blocks; b++, p += 2 * r.c)
      for (int64_t i = 0; i < r.c; i++) sum[i] += p[i], product[i] += p[r.c + i];
    at::Tensor dweight = at::empty({r.c}, at::kFloat), dbias = at::empty({r.c}, at::kFloat), slopes = at::empty({2, r.c}, at::kFloat);
    float *slope = slopes.data_ptr<float>(), *offset = slope + r.c;
    const float *invstd = statistics.data_ptr<float>() + kInvStd * r.c;
    for (int64_t i = 0; i < r.c; i++) {
      dweight.data_ptr<float>()[i] = product[i] * invstd[i];
      dbias.data_ptr<float>()[i] = sum[i];
    }
    if (group) all_reduce(group, sums);  // of weight and bias each process has its part, as of every gradient
    for (int64_t i = 0; i < r.c; i++) {
      slope[i] = n.scale[i] * product[i] * invstd[i] * invstd[i] / rows_of_all;
      offset[i] = n.scale[i] * sum[i] / rows_of_all;
    }
    at::Tensor dx = at::empty_like(x), d = passed.defined() ? passed : dy;
    dispatch(x, [&](auto &k, auto e) {
      typedef decltype(e) E;
      r.each([&](int64_t, int64_t first, int64_t rows) {
        k.backward(from<E>(d, first), from<E>(x, first), rows, r.c, n, relu && !add, slope, offset, from<E>(dx, first));
      });
    });
    return {dx, dweight, dbias, add ? d : at::Tensor(), at::Tensor(), at::Tensor()};
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    at::Tensor dy = channels_last(grads[0].to(saved[0].scalar_type()));
    bool relu = ctx->saved_data["relu"].toBool(), add = ctx->saved_data["add"].toBool();
    uintptr_t group = ctx->saved_data["group"].toInt();
    return gradients(dy, saved[0], saved[2], saved[1], relu, add, group, ctx->saved_data["rows"].toDouble());
  }
};

}  // namespace

bool can_fuse(const BatchNorm &n, const at::Tensor &x, const at::Tensor &add) {
  if (!own_kernels() || x.dim() != 4 || !x.is_contiguous(at::MemoryFormat::ChannelsLast) || n.weight.scalar_type() != at::kFloat) return false;
  bool device = device_can_normalise(x), half = device && x.scalar_type() == at::kHalf;
  if (!(x.is_cpu() || device) || !(half || x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16)) return false;
  auto like_x = [&](const at::Tensor &t) {
    return t.sizes() == x.sizes() && t.scalar_type() == x.scalar_type() && t.device() == x.device() && t.is_contiguous(at::MemoryFormat::ChannelsLast);
  };
  if (add.defined() && !like_x(add)) return false;
  if (n.training) return x.numel() / x.size(1) > 1;
  // Frozen statistics have other gradients.
  bool gradients = x.requires_grad() || n.weight.requires_grad() || n.bias.requires_grad() || (add.defined() && add.requires_grad());
  return !at::GradMode::is_enabled() || !gradients;
}

static at::Tensor fused_batch_norm(const BatchNorm &n, const at::Tensor &x, const at::Tensor &add, bool relu) {
  if (!n.training) return normalise(x, add, running_statistics(n, x), relu);
  return Fused::apply(x, n.weight, n.bias, add.defined() ? Optional<at::Tensor>(add) : Optional<at::Tensor>(), n, relu);
}

// In training over the processes of n.group, which libtorch has for GPUs only.
static at::Tensor sync_batch_norm(const BatchNorm &n, const at::Tensor &x) {
  bool known = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  TORCH_CHECK(x.is_cpu() && x.dim() == 4 && known && n.weight.scalar_type() == at::kFloat,
              "only images of float32 or bfloat16 on a CPU can be normalised over several processes");
  return fused_batch_norm(n, channels_last(x), at::Tensor(), false);
}

at::Tensor batch_norm(const BatchNorm &n, const at::Tensor &x, const at::Tensor &add, bool relu) {
  if (can_fuse(n, x, add)) return fused_batch_norm(n, x, add, relu);
  at::Tensor y = n.training && n.group ? sync_batch_norm(n, x)
                                       : at::batch_norm(x, n.weight, n.bias, n.running_mean, n.running_var, n.training,
                                                        n.momentum, n.eps, /*cudnn_enabled=*/true);
  if (add.defined()) y.add_(add);
  return relu ? y.relu_() : y;
}
