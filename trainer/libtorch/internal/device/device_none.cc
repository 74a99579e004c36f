//go:build !cuda && !cuda_emulated

#include "../cpp/device.h"

#include <ATen/Context.h>

bool has_kernels(const at::Tensor &) { return false; }
at::Device gpu() { return at::kCUDA; }
int gpu_count() { return at::hasCUDA() ? 1 : 0; }
DeviceMemory device_memory() { TORCH_CHECK(false, "this program was built without CUDA"); }
int64_t busy_blocks() { return 1; }
void launch_kernel(const std::string &, Grid, void **) { TORCH_CHECK(false, "this program was built without CUDA"); }
std::unique_ptr<Graph> new_graph() { TORCH_CHECK(false, "this program was built without CUDA"); }
void begin_device() { TORCH_CHECK(false, "this program was built without CUDA"); }
