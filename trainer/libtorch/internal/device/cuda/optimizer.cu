// torch.optim.AdamW and SGD, and what else is done to all parameters, in one pass over their memory. Learning rate, momentum, the number of
// steps and whether to skip one are read on the device, so that a graph of a step can be replayed.

// Counts a step, unless found_inf, which may be NULL, is not 0. rate: learning rate and momentum.
KERNEL(optimizer_begin, (const double *rate, const float *found_inf, double beta2, long long *steps, OptimizerStep *now)) {
  bool ok = !found_inf || *found_inf == 0;
  long long t = *steps + (ok ? 1 : 0);
  *steps = t;
  now->ok = ok, now->first = t == 1, now->lr = rate[0], now->momentum = rate[1], now->one_minus_momentum = 1 - rate[1];
  now->beta2 = beta2, now->one_minus_beta2 = 1 - beta2;
  now->step_size = rate[0] / (1 - pow(rate[1], (double)t));
  now->sqrt_correction2 = sqrt(1 - pow(beta2, (double)t));
}

// Calls f(parameter, index) for the numbers of a thread: a block has kChunk of one parameter, and a thread every blockDim.x-th of them.
template <class F>
DEVICE void each_number(const Params &params, F f) {
  int i = 0;
  while (i + 1 < params.n && params.list[i + 1].block <= blockIdx.x) i++;
  Param p = params.list[i];
  long long begin = (long long)(blockIdx.x - p.block) * kChunk, end = begin + kChunk < p.n ? begin + kChunk : p.n;
#pragma unroll 4
  for (long long at = begin + threadIdx.x; at < end; at += blockDim.x) f(p, at);
}

KERNEL(optimizer_adamw, (Params params, const OptimizerStep *now, float eps)) {
  OptimizerStep s = *now;
  if (s.ok == 0) return;
  each_number(params, [&](const Param &p, long long i) {
    float g = p.grad[i];
    float m = p.first[i] * s.momentum + g * s.one_minus_momentum;
    float v = p.second[i] * s.beta2 + g * g * s.one_minus_beta2;
    float keep = 1 - (double)s.lr * p.lr_multiplier * p.decay;
    p.first[i] = m, p.second[i] = v;
    p.param[i] = p.param[i] * keep - s.step_size * p.lr_multiplier * (m / (sqrtf(v) / s.sqrt_correction2 + eps));
  });
}

KERNEL(optimizer_sgd, (Params params, const OptimizerStep *now, float one_minus_dampening, bool nesterov)) {
  OptimizerStep s = *now;
  if (s.ok == 0) return;
  each_number(params, [&](const Param &p, long long i) {
    float w = p.param[i], g = p.grad[i] + (float)p.decay * w;
    if (s.momentum != 0) {
      float buffer = s.first != 0 ? g : p.first[i] * s.momentum + g * one_minus_dampening;
      p.first[i] = buffer;
      g = nesterov ? g + s.momentum * buffer : buffer;
    }
    p.param[i] = w - s.lr * p.lr_multiplier * g;
  });
}

// torch.nn.utils.clip_grad_norm_ of gradients, given as param, whose norm together is total.
KERNEL(gradients_clip, (Params gradients, const float *total, float max_norm)) {
  float factor = max_norm / (*total + 1e-6f);
  if (factor >= 1) return;  // not a number clips, and stays that
  each_number(gradients, [&](const Param &p, long long i) { p.param[i] *= factor; });
}

// param = decay·param + (1 - decay)·grad, where grad are weights and decay the third number of rate.
KERNEL(weights_average, (Params averages, const double *rate)) {
  float share = 1 - rate[2];
  each_number(averages, [&](const Param &p, long long i) { p.param[i] += share * (p.grad[i] - p.param[i]); });
}
