// What happens to gradients between backward and the optimiser, and to weights behind it.
#include "guard.h"

static std::vector<at::Tensor> grads_of(lt_tensor *params, int64_t n) {
  std::vector<at::Tensor> grads;
  for (int64_t i = 0; i < n; i++)
    if (ref(params[i]).grad().defined()) grads.push_back(ref(params[i]).grad());
  return grads;
}

lt_message lt_grad_norms(lt_tensor *params, int64_t n, lt_tensor *out) {
  return guard([&] { *out = handle(at::stack(at::_foreach_norm(grads_of(params, n), 2))); });
}

lt_message lt_norm(lt_tensor a, lt_tensor *out) {
  return guard([&] { *out = handle(at::norm(ref(a), 2)); });
}

// torch.nn.utils.clip_grad_norm_, with the total norm given.
lt_message lt_clip_grads(lt_tensor *params, int64_t n, lt_tensor total_norm, double max_norm) {
  return guard([&] {
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

// averages = decay·averages + (1 - decay)·weights
lt_message lt_average(lt_tensor *averages, lt_tensor *weights, int64_t n, double decay) {
  return guard([&] {
    for (int64_t i = 0; i < n; i++) ref(averages[i]).detach().mul_(decay).add_(ref(weights[i]).detach(), 1 - decay);
  });
}
