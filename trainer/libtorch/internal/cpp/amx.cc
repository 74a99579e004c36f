#include "amx.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

// Whether the environment keeps oneDNN off AMX, and so us: to see what a processor without it does.
static bool forbidden() {
  const char *isa = std::getenv("ONEDNN_MAX_CPU_ISA");
  return isa && !strcasestr(isa, "amx") && strcasecmp(isa, "all") != 0 && strcasecmp(isa, "default") != 0;
}

bool amx() {
  static const bool available = [] {
    unsigned a, b, c, d;
    if (forbidden() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    bool bf16 = d >> 22 & 1, tile = d >> 24 & 1;
    constexpr long request_permission = 0x1023, tile_data = 18; // ARCH_REQ_XCOMP_PERM, of Linux 5.16
    return bf16 && tile && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  }();
  return available;
}

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")

void amx_configure(char before[64]) {
  struct alignas(64) {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } config = {};
  config.palette = 1;
  for (int i = 0; i < 8; i++) config.bytes[i] = 64, config.rows[i] = 16;
  asm volatile("" : : "r"(&config) : "memory");  // GCC 12 believes that _tile_loadconfig reads 8 bytes only
  _tile_storeconfig(before);
  _tile_loadconfig(&config);
}

void amx_restore(const char before[64]) { _tile_loadconfig(before); }

void amx_rows(const uint16_t *x, int64_t stride, int64_t images, uint16_t *to) {
  for (int64_t i = 0; i < 32; i++)
    _mm512_store_si512(to + 32 * i, i < images ? _mm512_loadu_si512(x + i * stride) : _mm512_setzero_si512());
}

// Indices that take numbers from two places by turns: 0, second, 1, second + 1, …
static inline __m512i zip(int second) {
  __m512i counting = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_or_epi32(counting, _mm512_slli_epi32(_mm512_add_epi32(counting, _mm512_set1_epi32(second)), 16));
}

// A pair of images as two rows of pairs, of the first 16 channels and of the others.
static inline void pair_up(const uint16_t *x, int64_t stride, int64_t left, __m512i &low, __m512i &high) {
  __m512i first = left > 0 ? _mm512_loadu_si512(x) : _mm512_setzero_si512();
  __m512i second = left > 1 ? _mm512_loadu_si512(x + stride) : _mm512_setzero_si512();
  low = _mm512_permutex2var_epi16(first, zip(32), second);
  high = _mm512_permutex2var_epi16(first, _mm512_add_epi16(zip(32), _mm512_set1_epi16(16)), second);
}

void amx_pairs(const uint16_t *x, int64_t stride, int64_t images, uint16_t *to) {
  for (int64_t i = 0; i < 16; i++) {
    __m512i low, high;
    pair_up(x + 2 * i * stride, stride, images - 2 * i, low, high);
    _mm512_store_si512(to + 32 * i, low);
    _mm512_store_si512(to + amx_block / 2 + 32 * i, high);
  }
}

// Transposes 16×16 numbers of 32 bits.
static inline void transpose(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}

void amx_columns(const uint16_t *x, int64_t stride, int64_t images, uint16_t *to) {
  __m512i low[16], high[16];
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; i++) pair_up(x + 2 * i * stride, stride, images - 2 * i, low[i], high[i]);
  transpose(low);
  transpose(high);
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; i++) {
    _mm512_store_si512(to + 32 * i, low[i]);
    _mm512_store_si512(to + amx_block / 2 + 32 * i, high[i]);
  }
}

static inline __m512i to_bf16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

void amx_weights(const float *w, int64_t row, int64_t column, uint16_t *to) {
  for (int half = 0; half < 2; half++, w += 16 * column, to += amx_block / 2) {
    __m512i r[16];
    if (row == 1) {  // pairs lie side by side in every column
#pragma GCC unroll 16
      for (int c = 0; c < 16; c++) r[c] = to_bf16(_mm512_loadu_ps(w + c * column), _mm512_loadu_ps(w + c * column + 16));
      transpose(r);
    } else if (column == 1) {  // every row lies side by side
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++)
        r[i] = _mm512_permutexvar_epi16(zip(16), to_bf16(_mm512_loadu_ps(w + 2 * i * row), _mm512_loadu_ps(w + (2 * i + 1) * row)));
    } else {
      for (int i = 0; i < 16; i++) {
        alignas(64) float pair[32];
        for (int c = 0; c < 16; c++) pair[2 * c] = w[2 * i * row + c * column], pair[2 * c + 1] = w[(2 * i + 1) * row + c * column];
        r[i] = to_bf16(_mm512_load_ps(pair), _mm512_load_ps(pair + 16));
      }
    }
    for (int i = 0; i < 16; i++) _mm512_store_si512(to + 32 * i, r[i]);
  }
}

void amx_product(const uint16_t *a, const uint16_t *b, const AmxPair *pairs, int64_t n, int64_t blocks, int64_t a_next,
                 int64_t b_next, float *c, int64_t c_row, bool add) {
  int64_t bytes = c_row * sizeof(float);
  float *c10 = c + 16 * c_row;
  if (add) {
    _tile_loadd(0, c, bytes);
    _tile_loadd(1, c + 16, bytes);
    _tile_loadd(2, c10, bytes);
    _tile_loadd(3, c10 + 16, bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t i = 0; i < n; i++) {
    const uint16_t *p = a + int64_t(pairs[i].a) * amx_block, *q = b + int64_t(pairs[i].b) * amx_block;
    for (int64_t j = 0; j < blocks; j++, p += a_next * amx_block, q += b_next * amx_block) {
      _tile_loadd(4, p, 64);
      _tile_loadd(6, q, 64);
      _tile_loadd(5, p + amx_block / 2, 64);
      _tile_loadd(7, q + amx_block / 2, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, bytes);
  _tile_stored(1, c + 16, bytes);
  _tile_stored(2, c10, bytes);
  _tile_stored(3, c10 + 16, bytes);
}

void amx_store(const float *c, int64_t images, uint16_t *y, int64_t stride) {
  for (int64_t i = 0; i < images; i++, c += 32, y += stride)
    _mm512_storeu_si512(y, to_bf16(_mm512_loadu_ps(c), _mm512_loadu_ps(c + 16)));
}
#pragma GCC pop_options

#else
bool amx() { return false; }
void amx_configure(char *) {}
void amx_restore(const char *) {}
void amx_rows(const uint16_t *, int64_t, int64_t, uint16_t *) {}
void amx_pairs(const uint16_t *, int64_t, int64_t, uint16_t *) {}
void amx_columns(const uint16_t *, int64_t, int64_t, uint16_t *) {}
void amx_weights(const float *, int64_t, int64_t, uint16_t *) {}
void amx_product(const uint16_t *, const uint16_t *, const AmxPair *, int64_t, int64_t, int64_t, int64_t, float *, int64_t, bool) {}
void amx_store(const float *, int64_t, uint16_t *, int64_t) {}
#endif
