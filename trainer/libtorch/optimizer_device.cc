// AdamW and SGD on a GPU: cuda/optimizer.cu. What changes from step to step is on the device, so that a graph of a step can be
// replayed.
#include "device.h"
#include "guard.h"
#include "kernel_args.h"

namespace {

// The gradient in the order of the parameter.
at::Tensor in_order(const at::Tensor &grad, const at::Tensor &param) {
  return grad.strides() == param.strides() && grad.scalar_type() == at::kFloat ? grad : at::empty_like(param).copy_(grad);
}

at::Tensor begin(lt_tensor rate, lt_tensor found_inf, double beta2, lt_tensor steps) {
  at::Tensor now = at::empty({int64_t(sizeof(OptimizerStep) / sizeof(float))}, ref(rate).options().dtype(at::kFloat));
  launch("optimizer_begin", {1, 1, 1}, data_of<double>(ref(rate)), found_inf ? data_of<float>(ref(found_inf)) : nullptr, beta2,
         data_of<long long>(ref(steps)), data_of<float>(now));
  return now;
}

// Calls f(group, its grid) for the parameters that have gradients, and drops those.
template <class F>
void each_group(lt_tensor *params, lt_tensor *first, lt_tensor *second, const double *decays, int64_t n, F f) {
  std::vector<at::Tensor> grads;
  Params group = {};
  int64_t filled = 0, largest = 0;
  auto flush = [&] {
    if (filled > 0) f(group, Grid{std::min<int64_t>(busy_blocks(), (largest + 255) / 256), filled});
    filled = largest = 0;
  };
  for (int64_t i = 0; i < n; i++) {
    at::Tensor param = ref(params[i]).detach(), grad = ref(params[i]).grad();
    if (!grad.defined()) continue;
    TORCH_CHECK(param.scalar_type() == at::kFloat && param.is_non_overlapping_and_dense(), "parameters must be dense float32");
    grads.push_back(in_order(grad, param));
    group.list[filled++] = {data_of<float>(param), data_of<float>(grads.back()), first ? data_of<float>(ref(first[i])) : nullptr,
                            second ? data_of<float>(ref(second[i])) : nullptr, param.numel(), decays[i]};
    largest = std::max(largest, param.numel());
    if (filled == kParams) flush();
    ref(params[i]).mutable_grad().reset();
  }
  flush();
}

}  // namespace

lt_message lt_device_adamw(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, const double *weight_decays, int64_t n,
                           lt_tensor rate, double beta2, double eps, lt_tensor found_inf, lt_tensor steps) {
  return guard([&] {
    at::Tensor now = begin(rate, found_inf, beta2, steps);
    each_group(params, exp_avgs, exp_avg_sqs, weight_decays, n, [&](Params group, Grid grid) {
      launch("optimizer_adamw", grid, group, data_of<float>(now), float(beta2), float(eps));
    });
  });
}

lt_message lt_device_sgd(lt_tensor *params, lt_tensor *buffers, const double *weight_decays, int64_t n, lt_tensor rate, double dampening,
                         bool nesterov, lt_tensor found_inf, lt_tensor steps) {
  return guard([&] {
    at::Tensor now = begin(rate, found_inf, 0, steps);
    each_group(params, buffers, nullptr, weight_decays, n, [&](Params group, Grid grid) {
      launch("optimizer_sgd", grid, group, data_of<float>(now), float(dampening), nesterov);
    });
  });
}
