// Kernels of our own on a GPU, and graphs of them: package device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernel_args.h"
#include "tensor.h"

// Whether kernels of our own run on tensors that are where t is.
bool has_kernels(const at::Tensor &t);

// The device of LT_CUDA.
at::Device gpu();

int gpu_count();

// Bytes: what is free now, what there is, and the most that libtorch held.
struct DeviceMemory {
  int64_t free, total, peak;
};
DeviceMemory device_memory();

// The number of blocks that keep the device busy.
int64_t busy_blocks();

struct Grid {
  int64_t blocks, rows = 1;  // blockIdx.x and y
  int64_t threads = kThreads;
};

void launch_kernel(const std::string &name, Grid, void **args);

// Runs a kernel of cuda/ on the current stream. The types of args are exactly those of its parameters.
template <class... Args>
void launch(const std::string &name, Grid grid, Args... args) {
  void *list[] = {&args...};
  launch_kernel(name, grid, list);
}

// The name of a kernel for the type of t: float, half or bfloat16.
std::string kernel_for(const char *name, const at::Tensor &t);

// NULL where there is no tensor.
template <class E = void>
E *data_of(const at::Tensor &t) { return t.defined() ? static_cast<E *>(t.data_ptr()) : nullptr; }

// What the host asked of the device between begin and end is not done but recorded; replay does it. All that a graph works on
// must stay where it is.
struct Graph {
  virtual ~Graph() = default;
  virtual void begin() = 0;
  virtual void end() = 0;
  virtual void replay() = 0;
};

std::unique_ptr<Graph> new_graph();

// A copy on the device of LT_CUDA, of the memory at from. Nothing waits for it.
at::Tensor upload(const void *from, at::IntArrayRef sizes, at::ScalarType type);

// torch.nn.utils.clip_grad_norm_, given the norm of all gradients.
void device_clip(const std::vector<at::Tensor> &grads, const at::Tensor &total_norm, double max_norm);

// averages = decay·averages + (1 - decay)·weights, where decay is the third number of rate.
void device_average(const std::vector<at::Tensor> &averages, const std::vector<at::Tensor> &weights, const at::Tensor &rate);

// Gives this thread a stream of its own, which graphs need, and lets cuDNN try which algorithm is the fastest.
void begin_device();
