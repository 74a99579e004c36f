// at::Tensor without libtorch's two thousand functions on it. Whoever calls one of those includes its header of ATen/ops: all of
// them together (ATen/ATen.h) take longer to compile than any file here.
#pragma once

#ifndef AT_PER_OPERATOR_HEADERS  // libtorch's own switch: no header of its includes them all either
#define AT_PER_OPERATOR_HEADERS
#endif
#include <ATen/core/Tensor.h>
