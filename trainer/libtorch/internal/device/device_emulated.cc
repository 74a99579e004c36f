//go:build cuda_emulated

// Runs the kernels of cuda/ on the CPU, on CPU tensors, to test what they compute: blocks one after the other, the threads of a
// block as coroutines that take turns at __syncthreads. One kernel at a time.
#include "../cpp/device.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <map>

#include "../cpp/guard.h"
#include "../cpp/kernel_args.h"
#include "../cpp/simd.h"

namespace {

struct Index { unsigned x = 0, y = 0; };

// A thread of every block, one after the other: it is a coroutine for good, because to make one is slow.
struct Thread {
  std::vector<char> stack = std::vector<char>(64 << 10);
  jmp_buf here;
  bool made = false, done;
};

struct Block {
  std::vector<Thread> threads;
  jmp_buf scheduler;
  size_t current;
  void (*kernel)(void **);
  void **args;
};

Block block;

}  // namespace

// CUDA's names, as far as the kernels use them.
static Index threadIdx, blockIdx, blockDim, gridDim;
#define __device__
#define __forceinline__ inline
#define __shared__ static
static void __syncthreads() {
  if (!_setjmp(block.threads[block.current].here)) _longjmp(block.scheduler, 1);
}
static void __threadfence() {}
static unsigned atomicAdd(unsigned *to, unsigned n) { return (*to += n) - n; }
struct float4 { float x, y, z, w; };
static float4 __ldcg(const float4 *from) { return *from; }
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
static float __uint_as_float(unsigned u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
static unsigned __float_as_uint(float f) {
  unsigned u;
  std::memcpy(&u, &f, 4);
  return u;
}

namespace {

std::map<std::string, void (*)(void **)> &kernels() {
  static std::map<std::string, void (*)(void **)> all;
  return all;
}

// Calls a kernel with arguments given by their addresses, as cuLaunchKernel does.
template <auto kernel>
struct Call;
template <class... Args, void (*kernel)(Args...)>
struct Call<kernel> {
  template <size_t... i>
  static void unpack(void **args, std::index_sequence<i...>) { kernel(*static_cast<Args *>(args[i])...); }
  static void call(void **args) { unpack(args, std::index_sequence_for<Args...>()); }
};

struct Registered {
  Registered(const char *name, void (*call)(void **)) { kernels()[name] = call; }
};

#define KERNEL(name, parameters)                                      \
  static void name parameters;                                        \
  static Registered registered_##name(#name, Call<name>::call); \
  static void name parameters
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wsign-compare"

struct half_t;
static float to_float(half_t);
static void from_float(float, half_t &);
#include "cuda/base.cu"
static float to_float(half_t x) {
  _Float16 h;
  std::memcpy(&h, &x, 2);
  return h;
}
static void from_float(float f, half_t &x) {
  _Float16 h = f;
  std::memcpy(&x, &h, 2);
}
#include "cuda/batch.cu"
#include "cuda/norm.cu"
#include "cuda/optimizer.cu"

void thread_main() {
  for (;;) {
    block.kernel(block.args);
    block.threads[block.current].done = true;
    __syncthreads();
  }
}

// Runs a thread until its next __syncthreads, or its end.
void run_thread(Thread &t) {
  if (_setjmp(block.scheduler)) return;
  if (t.made) _longjmp(t.here, 1);
  t.made = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = t.stack.data(), context.uc_stack.ss_size = t.stack.size();
  makecontext(&context, thread_main, 0);
  setcontext(&context);
}

void run_block(size_t threads) {
  for (size_t i = 0; i < threads; i++) block.threads[i].done = false;
  for (bool left = true; left;) {
    left = false;
    for (block.current = 0; block.current < threads; block.current++) {
      threadIdx.x = block.current;
      Thread &t = block.threads[block.current];
      if (!t.done) run_thread(t);
      left |= !t.done;
    }
  }
}

}  // namespace

void lt_cuda_source(const char *) {}

bool has_kernels(const at::Tensor &t) { return t.is_cpu() && own_kernels(); }
at::Device gpu() { return at::kCPU; }
int gpu_count() { return 16; }
DeviceMemory device_memory() { return {int64_t(1) << 30, int64_t(1) << 30, 0}; }
int64_t busy_blocks() { return 13; }  // so that blocks share rows, also of several slabs

void launch_kernel(const std::string &name, Grid g, void **args) {
  TORCH_CHECK(kernels().count(name), "no kernel ", name);
  block.kernel = kernels()[name], block.args = args;
  if (int64_t(block.threads.size()) < g.threads) block.threads.resize(g.threads);
  blockDim.x = g.threads, gridDim = {unsigned(g.blocks), unsigned(g.rows)};
  for (blockIdx.y = 0; blockIdx.y < g.rows; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < g.blocks; blockIdx.x++) run_block(g.threads);
}

// graph_emulated.go
std::unique_ptr<Graph> new_graph() { TORCH_CHECK(false, "graphs are not emulated here"); }

void begin_device() {}
