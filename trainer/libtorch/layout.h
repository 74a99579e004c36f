// The order of numbers in memory that our operations work on.
#pragma once

#include <ATen/ATen.h>

inline at::Tensor channels_last(const at::Tensor &x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }
