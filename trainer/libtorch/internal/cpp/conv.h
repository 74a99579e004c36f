// Convolutions of the network.
#pragma once

#include "tensor.h"

// at::conv2d without bias. On a CPU 3×3 convolutions of stride 1 are Winograd's where that is faster.
at::Tensor conv2d(const at::Tensor &x, const at::Tensor &weight, int64_t stride, int64_t padding);
