// What all kernels use. They are one program, kernel_args.h and these files joined in the order of their names, which NVRTC compiles
// when the trainer starts; nothing is included, because NVRTC need not find any headers. For tests an ordinary compiler
// compiles them as well: device_emulated.cc.
//
// All is computed in float; memory holds float, float16 or bfloat16.

#define DEVICE static __device__ __forceinline__
#ifndef KERNEL
#define KERNEL(name, parameters) extern "C" __global__ void name parameters
#endif
// A kernel for each type of memory, named as name_float.
#define KERNELS(name, parameters, arguments)                           \
  KERNEL(name##_float, parameters(float)) { name<float> arguments; }   \
  KERNEL(name##_half, parameters(half_t)) { name<half_t> arguments; }  \
  KERNEL(name##_bfloat16, parameters(bf16_t)) { name<bf16_t> arguments; }

struct half_t { unsigned short bits; };
struct bf16_t { unsigned short bits; };

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16_t x) { return __uint_as_float((unsigned)x.bits << 16); }
#ifdef __CUDA_ARCH__
DEVICE float to_float(half_t x) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.bits));
  return f;
}
#endif

// Round to nearest, ties to even.
DEVICE void from_float(float f, float &x) { x = f; }
#ifdef __CUDA_ARCH__
DEVICE void from_float(float f, half_t &x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(x.bits) : "f"(f)); }
#endif
DEVICE void from_float(float f, bf16_t &x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(x.bits) : "f"(f));
#else
  unsigned u = __float_as_uint(f);
  x.bits = (u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
#endif
}

template <class E>
DEVICE float rounded(float f) {
  E x;
  from_float(f, x);
  return to_float(x);
}

// Eight numbers that lie side by side, in one or two accesses to memory.
template <class E>
struct alignas(16) Eight { E e[kEight]; };

template <class E>
DEVICE void load(const E *from, float to[kEight]) {
  Eight<E> eight = *reinterpret_cast<const Eight<E> *>(from);
#pragma unroll
  for (int k = 0; k < kEight; k++) to[k] = to_float(eight.e[k]);
}

template <class E>
DEVICE void store(E *to, const float from[kEight]) {
  Eight<E> eight;
#pragma unroll
  for (int k = 0; k < kEight; k++) from_float(from[k], eight.e[k]);
  *reinterpret_cast<Eight<E> *>(to) = eight;
}
