// torch.optim.AdamW (Loshchilov and Hutter, 2017) in one pass over the memory of each parameter, where PyTorch 1.13
// makes ten. The gradient is dropped at the end, as zero_grad(set_to_none=True) does.
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <cmath>
#include <vector>

#include "guard.h"

namespace {

struct Step {
  float lr_decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, sqrt_correction2, eps;
};

// The operations and their order are those of PyTorch's _single_tensor_adamw, in float as there.
void update_range(float *p, const float *g, float *m, float *v, int64_t n, const Step &s) {
  for (int64_t i = 0; i < n; i++) {
    m[i] = m[i] * s.beta1 + g[i] * s.one_minus_beta1;
    v[i] = v[i] * s.beta2 + s.one_minus_beta2 * g[i] * g[i];
    float denom = std::sqrt(v[i]) / s.sqrt_correction2 + s.eps;
    p[i] = p[i] * s.lr_decay - s.step_size * m[i] / denom;
  }
}

void on_cpu(const at::Tensor &p, const at::Tensor &grad, const at::Tensor &m, const at::Tensor &v, const Step &s) {
  TORCH_CHECK(p.is_non_overlapping_and_dense() && m.strides() == p.strides() && v.strides() == p.strides(),
              "AdamW needs parameters and state of one memory format");
  at::Tensor g = grad.strides() == p.strides() ? grad : at::empty_like(p).copy_(grad);
  float *pp = p.data_ptr<float>(), *mp = m.data_ptr<float>(), *vp = v.data_ptr<float>();
  const float *gp = g.data_ptr<float>();
  at::parallel_for(0, p.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
    update_range(pp + begin, gp + begin, mp + begin, vp + begin, end - begin, s);
  });
}

// The same where the memory is not ours to walk.
void on_device(const at::Tensor &p, const at::Tensor &g, const at::Tensor &m, const at::Tensor &v, const Step &s) {
  m.mul_(s.beta1).add_(g, s.one_minus_beta1);
  v.mul_(s.beta2).addcmul_(g, g, s.one_minus_beta2);
  p.mul_(s.lr_decay).addcdiv_(m, v.sqrt().div_(s.sqrt_correction2).add_(s.eps), -s.step_size);
}

}  // namespace

lt_message lt_adamw(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, int64_t n, int64_t step, double lr,
                    double beta1, double beta2, double eps, double weight_decay) {
  return guard([&] {
    double correction1 = 1 - std::pow(beta1, step), correction2 = 1 - std::pow(beta2, step);
    Step s{float(1 - lr * weight_decay), float(beta1), float(1 - beta1), float(beta2), float(1 - beta2),
           float(lr / correction1), float(std::sqrt(correction2)), float(eps)};
    for (int64_t i = 0; i < n; i++) {
      at::Tensor &p = ref(params[i]);
      if (!p.grad().defined()) continue;
      TORCH_CHECK(p.scalar_type() == at::kFloat, "AdamW takes float32 parameters, not ", p.scalar_type());
      auto update = p.is_cpu() ? on_cpu : on_device;
      update(p.detach(), p.grad(), ref(exp_avgs[i]), ref(exp_avg_sqs[i]), s);
      p.mutable_grad().reset();
    }
  });
}
