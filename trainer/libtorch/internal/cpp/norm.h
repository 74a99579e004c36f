// Batch normalisation with what follows it in a residual network.
#pragma once

#include "tensor.h"

struct BatchNorm {
  at::Tensor weight, bias, running_mean, running_var;
  bool training;
  double momentum, eps;
  uintptr_t group;  // in training, statistics are those of the images of all its processes; 0 for a process on its own
};

// Whether kernels of our own can take x and add, which may be undefined.
bool can_fuse(const BatchNorm &n, const at::Tensor &x, const at::Tensor &add);

// batch_norm(x) + add, where add may be undefined, and ReLU of it if relu.
at::Tensor batch_norm(const BatchNorm &n, const at::Tensor &x, const at::Tensor &add, bool relu);
