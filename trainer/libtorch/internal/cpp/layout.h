// The order of numbers in memory that our operations work on, and what differs between versions of libtorch.
#pragma once

#include <torch/version.h>

#include "tensor.h"

inline at::Tensor channels_last(const at::Tensor &x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

// libtorch has std::optional since 2.4, and had its own before.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
template <class T>
using Optional = std::optional<T>;
#else
template <class T>
using Optional = c10::optional<T>;
#endif
