//go:build cuda

// NVRTC compiles our kernels when the first of them runs, for the very device; libtorch has loaded it and the driver.
#include "../cpp/device.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/cuda/Exceptions.h>
#include <ATen/cuda/nvrtc_stub/ATenNVRTC.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>

#include <mutex>
#include <unordered_map>

#include "../cpp/guard.h"
#include "../cpp/simd.h"

static std::string &source() {
  static std::string text;
  return text;
}

void lt_cuda_source(const char *text) { source() = text; }

bool has_kernels(const at::Tensor &t) { return t.is_cuda() && own_kernels(); }
at::Device gpu() { return at::kCUDA; }
bool gpu_available() { return at::hasCUDA() && at::cuda::device_count() > 0; }

DeviceMemory device_memory() {
  size_t free = 0, total = 0;
  AT_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  // Index 0 of what is counted is all pools together.
  auto reserved = c10::cuda::CUDACachingAllocator::getDeviceStats(at::cuda::current_device()).reserved_bytes[0];
  return {int64_t(free), int64_t(total), reserved.peak};
}

// Memory is fast only if many accesses are under way.
int64_t busy_blocks() { return 4 * at::cuda::getCurrentDeviceProperties()->multiProcessorCount; }

// The program for the current device, in PTX.
static std::string compile() {
  const at::cuda::NVRTC &nvrtc = at::globalContext().getNVRTC();
  nvrtcProgram program;
  AT_CUDA_NVRTC_CHECK(nvrtc.nvrtcCreateProgram(&program, source().c_str(), "resnet.cu", 0, nullptr, nullptr));
  const cudaDeviceProp *device = at::cuda::getCurrentDeviceProperties();
  std::string arch = "--gpu-architecture=compute_" + std::to_string(device->major) + std::to_string(device->minor);
  const char *options[] = {arch.c_str(), "--std=c++17"};
  nvrtcResult result = nvrtc.nvrtcCompileProgram(program, 2, options);
  size_t size = 0;
  std::string log, ptx;
  if (result != NVRTC_SUCCESS) {
    AT_CUDA_NVRTC_CHECK(nvrtc.nvrtcGetProgramLogSize(program, &size));
    log.resize(size);
    AT_CUDA_NVRTC_CHECK(nvrtc.nvrtcGetProgramLog(program, &log[0]));
    TORCH_CHECK(false, "the kernels do not compile for ", device->name, ": ", log);
  }
  AT_CUDA_NVRTC_CHECK(nvrtc.nvrtcGetPTXSize(program, &size));
  ptx.resize(size);
  AT_CUDA_NVRTC_CHECK(nvrtc.nvrtcGetPTX(program, &ptx[0]));
  AT_CUDA_NVRTC_CHECK(nvrtc.nvrtcDestroyProgram(&program));
  return ptx;
}

static CUfunction function(const std::string &name) {
  static std::mutex mutex;
  static CUmodule module = nullptr;
  static std::unordered_map<std::string, CUfunction> functions;
  std::lock_guard<std::mutex> lock(mutex);
  const at::cuda::NVRTC &driver = at::globalContext().getNVRTC();
  if (!module) {
    std::string ptx = compile();
    AT_CUDA_DRIVER_CHECK(driver.cuModuleLoadData(&module, ptx.c_str()));
  }
  CUfunction &f = functions[name];
  if (!f) AT_CUDA_DRIVER_CHECK(driver.cuModuleGetFunction(&f, module, name.c_str()));
  return f;
}

void launch_kernel(const std::string &name, Grid g, void **args) {
  CUcontext context = nullptr;
  AT_CUDA_DRIVER_CHECK(at::globalContext().getNVRTC().cuCtxGetCurrent(&context));
  if (!context) at::zeros({1}, at::kCUDA);  // a thread of autograd that is new: the runtime gives it the device's context
  AT_CUDA_DRIVER_CHECK(at::globalContext().getNVRTC().cuLaunchKernel(function(name), g.blocks, g.rows, 1, g.threads, 1, 1, 0,
                                                                     at::cuda::getCurrentCUDAStream(), args, nullptr));
}

namespace {
struct CUDAGraph : Graph {
  at::cuda::CUDAGraph graph;
  void begin() override { graph.capture_begin(); }
  void end() override { graph.capture_end(); }
  void replay() override { graph.replay(); }
};
}  // namespace

std::unique_ptr<Graph> new_graph() { return std::make_unique<CUDAGraph>(); }

void begin_device() {
  c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool());
  if (!at::globalContext().deterministicCuDNN()) at::globalContext().setBenchmarkCuDNN(true);
}
