// Convolutions in bfloat16 on Intel's AMX.
#pragma once

#include "tensor.h"

// Whether conv2d_amx can take x and w.
bool can_use_amx(const at::Tensor &x, const at::Tensor &w);

// conv2d of x in bfloat16 and w in float32, as in autocast; without bias. The gradient of w is in float32: sums are not
// rounded to bfloat16 before they are added up.
at::Tensor conv2d_amx(const at::Tensor &x, const at::Tensor &w, int64_t stride, int64_t padding);
