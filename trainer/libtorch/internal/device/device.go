// Package device runs kernels of our own on a GPU, behind device.h of package cpp. One of three files is compiled: device_cuda.cc
// with the build tag cuda, device_emulated.cc with cuda_emulated, where CPU tensors take the place of a GPU's (for tests), else
// device_none.cc.
package device

// #cgo CXXFLAGS: -std=c++20 -O3 -g0 -I/usr/include/torch/csrc/api/include
// #cgo cuda CXXFLAGS: -DWITH_CUDA
// #cgo cuda LDFLAGS: -Wl,--no-as-needed -ltorch_cuda -lc10_cuda
import "C"

import _ "github.com/resnet-operator/resnet-operator/trainer/libtorch/internal/cpp" // what calls this
