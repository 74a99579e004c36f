// The state of the calling thread.
#pragma once

#include "tensor.h"

// The type in which autocast has convolutions on a CPU: float32 without it.
at::ScalarType cpu_autocast();
