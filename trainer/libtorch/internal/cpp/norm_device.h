// Batch normalisation on a GPU: what norm.cc does on a CPU, step by step.
#pragma once

#include "norm.h"

// Whether a GPU can take x, which is channels_last.
bool device_can_normalise(const at::Tensor &x);

at::Tensor device_running_statistics(const BatchNorm &n);
at::Tensor device_batch_statistics(const BatchNorm &n, const at::Tensor &x);
at::Tensor device_normalise(const at::Tensor &x, const at::Tensor &add, const at::Tensor &statistics, bool relu);

struct NormGradients {
  at::Tensor dx, dweight, dbias, dadd;
};
NormGradients device_gradients(const at::Tensor &dy, const at::Tensor &x, const at::Tensor &y, const at::Tensor &statistics, bool relu, bool add);
