//go:build cuda

// NVRTC compiles our kernels when the first of them runs, for the very device.
#include "../cpp/device.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/cuda/Exceptions.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda.h>
#include <dlfcn.h>
#include <nvrtc.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "../cpp/guard.h"
#include "../cpp/simd.h"
#include "library.h"

namespace {

std::string &source() {
  static std::string text;
  return text;
}

}  // namespace

void lt_cuda_source(const char *text) { source() = text; }

bool has_kernels(const at::Tensor &t) { return t.is_cuda() && own_kernels(); }
at::Device gpu() { return at::kCUDA; }
int gpu_count() { return c10::cuda::device_count(); }

DeviceMemory device_memory() {
  size_t free = 0, total = 0;
  AT_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  // Index 0 of what is counted is all pools together.
  auto reserved = c10::cuda::CUDACachingAllocator::getDeviceStats(at::cuda::current_device()).reserved_bytes[0];
  return {int64_t(free), int64_t(total), reserved.peak};
}

// Memory is fast only if many accesses are under way.
int64_t busy_blocks() {
  static int64_t blocks = 4 * at::cuda::getCurrentDeviceProperties()->multiProcessorCount;
  return blocks;
}

namespace {

// The driver. The program does not link it, so that it starts without one.
struct Driver : Library {
  Driver() : Library("libcuda.so.1") {}
  SYMBOL(cuCtxGetCurrent)
  SYMBOL(cuGetErrorString)
  SYMBOL(cuLaunchKernel)
  SYMBOL(cuModuleGetFunction)
  SYMBOL(cuModuleLoadData)
};

const Driver &driver() {
  static const Driver &d = *new Driver;
  return d;
}

void check(CUresult r, const char *what) {
  if (r == CUDA_SUCCESS) return;
  const char *text = "unknown error";
  driver().cuGetErrorString(r, &text);
  TORCH_CHECK(false, what, ": ", text, " (CUDA error ", int(r), ")");
}

struct NVRTC : Library {
  // Which one CUDA's major version says; libtorch loads the same.
  NVRTC() : Library("libnvrtc.so." + std::to_string(CUDA_VERSION / 1000)) { load_builtins(); }
  SYMBOL(nvrtcCompileProgram)
  SYMBOL(nvrtcCreateProgram)
  SYMBOL(nvrtcDestroyProgram)
  SYMBOL(nvrtcGetCUBIN)
  SYMBOL(nvrtcGetCUBINSize)
  SYMBOL(nvrtcGetErrorString)
  SYMBOL(nvrtcGetNumSupportedArchs)
  SYMBOL(nvrtcGetPTX)
  SYMBOL(nvrtcGetPTXSize)
  SYMBOL(nvrtcGetProgramLog)
  SYMBOL(nvrtcGetProgramLogSize)
  SYMBOL(nvrtcGetSupportedArchs)
  SYMBOL(nvrtcVersion)

 private:
  // NVRTC opens a library beside it by its name, and finds it only in the paths of the program, or where it is open already.
  void load_builtins() {
    Dl_info info;
    int major = 0, minor = 0;
    if (!dladdr(reinterpret_cast<void *>(nvrtcVersion), &info) || nvrtcVersion(&major, &minor) != NVRTC_SUCCESS) return;
    std::string path(info.dli_fname);
    path.resize(path.rfind('/') + 1);
    dlopen((path + "libnvrtc-builtins.so." + std::to_string(major) + "." + std::to_string(minor)).c_str(), RTLD_LAZY);
  }
};

const NVRTC &nvrtc() {
  static const NVRTC &n = *new NVRTC;
  return n;
}

void check(nvrtcResult r) { TORCH_CHECK(r == NVRTC_SUCCESS, "NVRTC: ", nvrtc().nvrtcGetErrorString(r)); }

// What NVRTC says of a program, in one line.
std::string log_of(nvrtcProgram program) {
  size_t size = 0;
  check(nvrtc().nvrtcGetProgramLogSize(program, &size));
  std::string log(size, 0);
  check(nvrtc().nvrtcGetProgramLog(program, &log[0]));
  while (!log.empty() && (log.back() == 0 || log.back() == '\n')) log.pop_back();
  std::replace(log.begin(), log.end(), '\n', ';');
  return log;
}

struct Code {
  std::string arch;  // the option of NVRTC
  std::string bytes;
};

// Machine code needs no more of the driver than that it knows the GPU; PTX would need one as new as NVRTC. A GPU that is newer than NVRTC
// has no machine code of its major version, and gets PTX after all.
Code compile(int capability) {
  const NVRTC &n = nvrtc();
  int count = 0;
  check(n.nvrtcGetNumSupportedArchs(&count));
  std::vector<int> supported(count);
  check(n.nvrtcGetSupportedArchs(supported.data()));
  int best = 0;
  for (int arch : supported)
    if (arch <= capability) best = std::max(best, arch);
  TORCH_CHECK(best > 0, "this NVRTC knows no GPU of compute capability ", capability / 10, ".", capability % 10);
  bool machine = best / 10 == capability / 10;

  nvrtcProgram program;
  check(n.nvrtcCreateProgram(&program, source().c_str(), "resnet.cu", 0, nullptr, nullptr));
  std::string arch = std::string("--gpu-architecture=") + (machine ? "sm_" : "compute_") + std::to_string(best);
  const char *options[] = {arch.c_str(), "--std=c++17", "--disable-warnings"};
  if (n.nvrtcCompileProgram(program, 3, options) != NVRTC_SUCCESS) {
    std::string log = log_of(program);
    n.nvrtcDestroyProgram(&program);
    TORCH_CHECK(false, "the kernels do not compile with ", arch, ": ", log);
  }
  size_t size = 0;
  Code code = {arch, ""};
  check(machine ? n.nvrtcGetCUBINSize(program, &size) : n.nvrtcGetPTXSize(program, &size));
  code.bytes.resize(size);
  check(machine ? n.nvrtcGetCUBIN(program, &code.bytes[0]) : n.nvrtcGetPTX(program, &code.bytes[0]));
  check(n.nvrtcDestroyProgram(&program));
  return code;
}

CUfunction function(const std::string &name) {
  static std::mutex mutex;
  static CUmodule module = nullptr;
  static std::unordered_map<std::string, CUfunction> functions;
  std::lock_guard<std::mutex> lock(mutex);
  if (!module) {
    const cudaDeviceProp *device = at::cuda::getCurrentDeviceProperties();
    Code code = compile(10 * device->major + device->minor);
    check(driver().cuModuleLoadData(&module, code.bytes.c_str()), "loading the kernels");
  }
  CUfunction &f = functions[name];
  if (!f) check(driver().cuModuleGetFunction(&f, module, name.c_str()), name.c_str());
  return f;
}

}  // namespace

lt_message lt_cuda_compile(int capability, char **arch, char **code, int64_t *n) {
  return guard([&] {
    Code c = compile(capability);
    *arch = strdup(c.arch.c_str()), *n = c.bytes.size();
    *code = static_cast<char *>(memcpy(malloc(c.bytes.size()), c.bytes.data(), c.bytes.size()));
  });
}

void launch_kernel(const std::string &name, Grid g, void **args) {
  CUcontext context = nullptr;
  check(driver().cuCtxGetCurrent(&context), "context");
  if (!context) at::zeros({1}, at::kCUDA);  // a thread of autograd that is new: the runtime gives it the device's context
  check(driver().cuLaunchKernel(function(name), g.blocks, g.rows, 1, g.threads, 1, 1, 0, at::cuda::getCurrentCUDAStream(), args, nullptr),
        name.c_str());
}

namespace {

struct CUDAGraph : Graph {
  at::cuda::CUDAGraph graph;
  ~CUDAGraph() override { (void)cudaDeviceSynchronize(); }  // its memory is in use until then
  // Thread-local: what other threads ask of the device meanwhile (NCCL's, the one that saves checkpoints) is no error.
  void begin() override { graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal); }
  void end() override {
    try {
      graph.capture_end();
    } catch (...) {
      // libtorch leaves the allocator in the pool of a capture that failed.
      try {
        c10::cuda::CUDACachingAllocator::endAllocateToPool(at::cuda::current_device(), graph.pool());
      } catch (const std::exception &) {  // it has not
      }
      (void)cudaGetLastError();
      throw;
    }
  }
  void replay() override { graph.replay(); }
};

}  // namespace

std::unique_ptr<Graph> new_graph() { return std::make_unique<CUDAGraph>(); }

void begin_device() {
  c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool());
  if (at::globalContext().deterministicCuDNN()) return;
  at::globalContext().setBenchmarkCuDNN(true);
  at::globalContext().setBenchmarkLimitCuDNN(4);  // plans to try of each convolution; the first are the likely ones
}
