// torch.optim.AdamW and SGD, in one pass over the memory of many parameters. Learning rate, momentum, the number of steps
// and whether to skip one are read on the device, so that a graph of a step can be replayed.

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

// blockIdx.y is the parameter.
KERNEL(optimizer_adamw, (Params params, const OptimizerStep *now, float eps)) {
  Param p = params.list[blockIdx.y];
  OptimizerStep s = *now;
  if (s.ok == 0) return;
  float keep = 1 - (double)s.lr * p.decay;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < p.n; i += (long long)gridDim.x * blockDim.x) {
    float g = p.grad[i];
    float m = p.first[i] * s.momentum + g * s.one_minus_momentum;
    float v = p.second[i] * s.beta2 + g * g * s.one_minus_beta2;
    p.first[i] = m, p.second[i] = v;
    p.param[i] = p.param[i] * keep - s.step_size * (m / (sqrtf(v) / s.sqrt_correction2 + eps));
  }
}

KERNEL(optimizer_sgd, (Params params, const OptimizerStep *now, float one_minus_dampening, bool nesterov)) {
  Param p = params.list[blockIdx.y];
  OptimizerStep s = *now;
  if (s.ok == 0) return;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < p.n; i += (long long)gridDim.x * blockDim.x) {
    float w = p.param[i], g = p.grad[i] + (float)p.decay * w;
    if (s.momentum != 0) {
      float buffer = s.first != 0 ? g : p.first[i] * s.momentum + g * one_minus_dampening;
      p.first[i] = buffer;
      g = nesterov ? g + s.momentum * buffer : buffer;
    }
    p.param[i] = w - s.lr * g;
  }
}
