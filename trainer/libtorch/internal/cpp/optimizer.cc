// torch.optim.AdamW (Loshchilov and Hutter, 2017) and torch.optim.SGD.
//
// Without found_inf the operations and their order are those of PyTorch's _single_tensor_adamw and _single_tensor_sgd:
// the numbers are the same to the last bit. In AdamW on a CPU they are one pass over the memory, if our own kernels are
// used, and not all roundings the same. With found_inf, a float on the device, a step is skipped where it is not 0
// without asking the device: everything that depends on it is computed there, the number of steps skipped included.
#include <ATen/Parallel.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_amp_update_scale.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/norm.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "guard.h"
#include "simd.h"

static void drop_grad(at::Tensor &param) { param.mutable_grad().reset(); }  // zero_grad(set_to_none=True)

// Skip is found_inf on the device, as factors: x where the step counts, else what leaves things as they are.
struct Skip {
  at::Tensor ok;
  explicit Skip(const at::Tensor &found_inf) : ok(found_inf.eq(0)) {}
  at::Tensor grad(const at::Tensor &g) const { return at::where(ok, g, at::zeros({}, g.options())); }
  at::Tensor factor(const at::Tensor &x, double otherwise) const {
    return at::where(ok, x, at::full({}, otherwise, x.options()));
  }
  at::Tensor factor(double x, double otherwise) const {
    auto o = ok.options().dtype(at::kDouble);
    return at::where(ok, at::full({}, x, o), at::full({}, otherwise, o));
  }
};

// Whether tensors are numbers of float32 in the same order.
static bool alike(const at::Tensor &param, std::initializer_list<at::Tensor> others) {
  if (!param.is_cpu() || param.scalar_type() != at::kFloat || !param.is_non_overlapping_and_dense()) return false;
  for (const at::Tensor &t : others)
    if (t.scalar_type() != at::kFloat || t.strides() != param.strides() || !t.is_cpu()) return false;
  return true;
}

lt_message lt_adamw(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, const lt_param_options *options,
                    int64_t n, int64_t step, double lr, double beta1, double beta2, double eps) {
  return guard([&] {
    double correction1 = 1 - std::pow(beta1, step);
    double sqrt_correction2 = std::sqrt(1 - std::pow(beta2, step));
    bool own = own_kernels();
    for (int64_t i = 0; i < n; i++) {
      double rate = lr * options[i].lr_multiplier, step_size = rate / correction1, keep = 1 - rate * options[i].weight_decay;
      at::Tensor param = ref(params[i]).detach(), grad = ref(params[i]).grad();
      if (!grad.defined()) continue;
      at::Tensor &exp_avg = ref(exp_avgs[i]), &exp_avg_sq = ref(exp_avg_sqs[i]);
      if (own && alike(param, {grad, exp_avg, exp_avg_sq})) {
        AdamW now = {float(keep), float(beta1), float(1 - beta1), float(beta2), float(1 - beta2),
                     float(sqrt_correction2), float(eps), float(step_size)};
        float *p = param.data_ptr<float>(), *g = grad.data_ptr<float>(), *m = exp_avg.data_ptr<float>(), *v = exp_avg_sq.data_ptr<float>();
        at::parallel_for(0, param.numel(), 1 << 14, [&](int64_t from, int64_t to) {
          simd().adamw(p + from, g + from, m + from, v + from, to - from, now);
        });
        drop_grad(ref(params[i]));
        continue;
      }
      if (options[i].weight_decay != 0) param.mul_(keep);
      exp_avg.mul_(beta1).add_(grad, 1 - beta1);
      exp_avg_sq.mul_(beta2).addcmul_(grad, grad, 1 - beta2);
      param.addcdiv_(exp_avg, exp_avg_sq.sqrt().div_(sqrt_correction2).add_(eps), -step_size);
      drop_grad(ref(params[i]));
    }
  });
}

lt_message lt_adamw_unless(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, const lt_param_options *options,
                           int64_t n, int64_t step, double lr, double beta1, double beta2, double eps,
                           lt_tensor found_inf, lt_tensor skipped) {
  return guard([&] {
    Skip skip(ref(found_inf));
    ref(skipped).add_(skip.ok.logical_not());
    at::Tensor t = ref(skipped).mul(-1).add_(step).to(at::kDouble);  // steps that counted, this one included
    auto correction = [&](double beta) {                             // 1 - beta^t; 1 where nothing is to be corrected
      return skip.factor(at::pow(beta, t).mul_(-1).add_(1), 1);
    };
    at::Tensor inverse_correction1 = correction(beta1).reciprocal();
    at::Tensor sqrt_correction2 = correction(beta2).sqrt();
    for (int64_t i = 0; i < n; i++) {
      at::Tensor param = ref(params[i]).detach(), grad = ref(params[i]).grad();
      if (!grad.defined()) continue;
      grad = skip.grad(grad);
      at::Tensor &exp_avg = ref(exp_avgs[i]), &exp_avg_sq = ref(exp_avg_sqs[i]);
      double rate = lr * options[i].lr_multiplier;
      at::Tensor step_size = skip.factor(inverse_correction1.mul(rate), 0);
      param.mul_(skip.factor(1 - rate * options[i].weight_decay, 1));
      exp_avg.mul_(skip.factor(beta1, 1)).add_(grad, 1 - beta1);
      exp_avg_sq.mul_(skip.factor(beta2, 1)).addcmul_(grad, grad, 1 - beta2);
      param.sub_(exp_avg.div(exp_avg_sq.sqrt().div_(sqrt_correction2).add_(eps)).mul_(step_size));
      drop_grad(ref(params[i]));
    }
  });
}

lt_message lt_sgd(lt_tensor *params, lt_tensor *buffers, const lt_param_options *options, int64_t n, bool first, double lr,
                  double momentum, double dampening, bool nesterov) {
  return guard([&] {
    for (int64_t i = 0; i < n; i++) {
      at::Tensor param = ref(params[i]).detach(), grad = ref(params[i]).grad();
      if (!grad.defined()) continue;
      if (options[i].weight_decay != 0) grad = grad.add(param, options[i].weight_decay);
      if (momentum != 0) {
        at::Tensor &buffer = ref(buffers[i]);
        if (first)
          buffer.copy_(grad);
        else
          buffer.mul_(momentum).add_(grad, 1 - dampening);
        grad = nesterov ? grad.add(buffer, momentum) : buffer;
      }
      param.add_(grad, -lr * options[i].lr_multiplier);
      drop_grad(ref(params[i]));
    }
  });
}

lt_message lt_sgd_unless(lt_tensor *params, lt_tensor *buffers, const lt_param_options *options, int64_t n, int64_t step,
                         double lr, double momentum, double dampening, bool nesterov, lt_tensor found_inf,
                         lt_tensor skipped) {
  return guard([&] {
    Skip skip(ref(found_inf));
    at::Tensor first = ref(skipped).eq(step - 1);  // all steps before this one were skipped
    ref(skipped).add_(skip.ok.logical_not());
    for (int64_t i = 0; i < n; i++) {
      at::Tensor param = ref(params[i]).detach(), grad = ref(params[i]).grad();
      if (!grad.defined()) continue;
      grad = skip.grad(grad);
      if (options[i].weight_decay != 0) grad = grad.add(param, options[i].weight_decay);
      if (momentum != 0) {
        at::Tensor &buffer = ref(buffers[i]);
        at::Tensor next = at::where(first, grad, buffer.mul(momentum).add_(grad, 1 - dampening));
        buffer.copy_(at::where(skip.ok, next, buffer));
        grad = nesterov ? grad.add(buffer, momentum) : buffer;
      }
      param.add_(grad.mul(skip.factor(-lr * options[i].lr_multiplier, 0)));
      drop_grad(ref(params[i]));
    }
  });
}

// ---- What happens to gradients between backward and the optimiser, and to weights behind it ----

static std::vector<at::Tensor> grads_of(lt_tensor *params, int64_t n) {
  std::vector<at::Tensor> grads;
  for (int64_t i = 0; i < n; i++)
    if (ref(params[i]).grad().defined()) grads.push_back(ref(params[i]).grad());
  return grads;
}

void lt_drop_grads(lt_tensor *params, int64_t n) {
  for (int64_t i = 0; i < n; i++) drop_grad(ref(params[i]));
}

// The norm of a parameter without gradient is 0.
lt_message lt_grad_norms(lt_tensor *params, int64_t n, lt_tensor *out) {
  return guard([&] {
    std::vector<at::Tensor> grads = grads_of(params, n), norms;
    if (!grads.empty()) norms = at::_foreach_norm(grads, 2);
    if (int64_t(grads.size()) == n) {
      *out = handle(at::stack(norms));
      return;
    }
    std::vector<at::Tensor> all;
    for (int64_t i = 0, next = 0; i < n; i++)
      all.push_back(ref(params[i]).grad().defined() ? norms[next++] : at::zeros({}, ref(params[i]).options().requires_grad(false)));
    *out = handle(at::stack(all));
  });
}

lt_message lt_norm(lt_tensor a, lt_tensor *out) {
  return guard([&] { *out = handle(at::norm(ref(a), 2)); });
}

// torch.nn.utils.clip_grad_norm_, with the total norm given.
lt_message lt_clip_grads(lt_tensor *params, int64_t n, lt_tensor total_norm, double max_norm) {
  return guard([&] {
    if (has_kernels(ref(total_norm))) {
      device_clip(grads_of(params, n), ref(total_norm), max_norm);
      return;
    }
    at::Tensor factor = ref(total_norm).add(1e-6).reciprocal().mul_(max_norm).clamp_max_(1.0);
    if (factor.is_cpu() && factor.item<double>() == 1) return;
    for (at::Tensor &grad : grads_of(params, n)) grad.mul_(factor);
  });
}

// GradScaler.unscale_: divides the gradients by the scale and sets found_inf to 1 if one is not finite, else to 0.
lt_message lt_amp_unscale(lt_tensor *params, int64_t n, lt_tensor scale, lt_tensor found_inf) {
  return guard([&] {
    at::Tensor &found = ref(found_inf);
    at::Tensor inverse = ref(scale).to(at::kDouble).reciprocal().to(at::kFloat);
    std::vector<at::Tensor> grads = grads_of(params, n);
    found.zero_();
    if (found.is_cuda()) {
      at::_amp_foreach_non_finite_check_and_unscale_(grads, found, inverse);
      return;
    }
    for (at::Tensor &grad : grads) {
      if (!at::isfinite(grad).all().item<bool>()) found.fill_(1);
      grad.mul_(inverse);
    }
  });
}

// GradScaler.update. The other branch is the definition of _amp_update_scale_, which has no CPU kernel.
lt_message lt_amp_update(lt_tensor scale, lt_tensor growth_tracker, lt_tensor found_inf, double growth, double backoff,
                         int64_t interval) {
  return guard([&] {
    at::Tensor &s = ref(scale), &tracker = ref(growth_tracker), &found = ref(found_inf);
    if (s.is_cuda()) {
      at::_amp_update_scale_(s, tracker, found, growth, backoff, interval);
      return;
    }
    if (found.item<float>() != 0) {
      s.mul_(backoff);
      tracker.zero_();
    } else if (tracker.add_(1).item<int>() == interval) {
      at::Tensor grown = s.mul(growth);
      if (at::isfinite(grown).item<bool>()) s.copy_(grown);
      tracker.zero_();
    }
  });
}

lt_message lt_scale(lt_tensor loss, lt_tensor scale, lt_tensor *out) {
  return guard([&] { *out = handle(ref(loss).mul(ref(scale))); });
}

// averages = decay·averages + (1 - decay)·weights. If there is a rate on the device, decay is its third number.
lt_message lt_average(lt_tensor *averages, lt_tensor *weights, int64_t n, double decay, lt_tensor rate) {
  return guard([&] {
    std::vector<at::Tensor> to, from;
    for (int64_t i = 0; i < n; i++) to.push_back(ref(averages[i]).detach()), from.push_back(ref(weights[i]).detach());
    if (rate) return device_average(to, from, ref(rate));
    for (int64_t i = 0; i < n; i++) to[i].mul_(decay).add_(from[i], 1 - decay);
  });
}
