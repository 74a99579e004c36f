// quant_batch_norm on a CPU, in the passes over the memory that batch normalisation makes anyway.
#pragma once

#include "quant.h"

bool can_fuse_quantised(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add);
at::Tensor fused_quant_batch_norm(const QuantBatchNorm &q, const at::Tensor &x, const at::Tensor &add);
