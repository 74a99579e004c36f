#include "simd.h"

#include <cstdlib>
#include <cstring>
#include <type_traits>

#define INLINE __attribute__((always_inline))

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
namespace v4 {
constexpr int W = 16, MR = 12, NV = 2;
#define SQRT(v) __builtin_ia32_sqrtps512_mask(v, v, -1, 4)
#include "kernels.h"
#undef SQRT
}
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace v3 {
constexpr int W = 8, MR = 6, NV = 2;
#define SQRT(v) __builtin_ia32_sqrtps256(v)
#include "kernels.h"
#undef SQRT
}
#pragma GCC pop_options
#endif

namespace base {
#if defined(__aarch64__)
constexpr int W = 4, MR = 6, NV = 4;
#define SQRT(v) vsqrtq_f32(v)
#elif defined(__x86_64__)
constexpr int W = 4, MR = 6, NV = 2;
#define SQRT(v) __builtin_ia32_sqrtps(v)
#endif
#include "kernels.h"
}

// The environment may ask for less than the processor has, in ATen's words: "default" or "avx2".
static bool allowed(const char *isa) {
  const char *most = std::getenv("ATEN_CPU_CAPABILITY");
  return !most || (std::strcmp(most, "default") != 0 && (std::strcmp(most, "avx2") != 0 || std::strcmp(isa, "avx2") == 0));
}

static const Simd &choose() {
#if defined(__x86_64__)
  bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512 && allowed("avx512")) return v4::simd;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && allowed("avx2")) return v3::simd;
#endif
  return base::simd;
}

const Simd &simd() {
  static const Simd &chosen = choose();
  return chosen;
}

bool own_kernels() {
  const char *chosen = std::getenv("RESNET_KERNELS");
  return !chosen || std::strcmp(chosen, "libtorch") != 0;
}
