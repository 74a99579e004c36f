// Included by simd.cc once for each instruction set, in a namespace that defines
//   W         floats in a vector
//   MR, NV    the block of a matrix product that fits the registers: MR rows of NV vectors
//   SQRT      the square root of a vector

typedef float vec __attribute__((vector_size(4 * W)));
constexpr int64_t NR = NV * W;

// Memory is not aligned to vectors.
template <class V>
static inline V load_as(const void *p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
static inline V load(const float *p) { return load_as<V>(p); }
template <class V>
static inline void store(float *p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

typedef uint32_t words __attribute__((vector_size(4 * W)));
typedef uint16_t halves __attribute__((vector_size(2 * W)));

// bfloat16 is the upper half of a float.
template <class V>
static inline V load(const bf16 *p) {
  if constexpr (sizeof(V) == sizeof(float)) {
    uint32_t bits = uint32_t(p->bits) << 16;
    return load_as<float>(&bits);
  } else {
    return (vec)(__builtin_convertvector(load_as<halves>(p), words) << 16);
  }
}

// To the nearest, ties to even; NaN stays NaN.
template <class V>
static inline void store(bf16 *p, V v) {
  if constexpr (sizeof(V) == sizeof(float)) {
    uint32_t bits;
    __builtin_memcpy(&bits, &v, sizeof v);
    p->bits = v != v ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  } else {
    words bits = (words)v;
    bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    halves h = __builtin_convertvector(v != v ? words{} + 0x7fc0 : bits, halves);
    __builtin_memcpy(p, &h, sizeof h);
  }
}

// What is left of v in the memory of an E.
template <class E, class V>
static inline V rounded(V v) {
  if constexpr (sizeof(E) == sizeof(float)) return v;
  E e[sizeof(V) / sizeof(float)];
  store<V>(e, v);
  return load<V>(e);
}

// Calls f<vec> for whole vectors of channels, and f<float> for those that remain.
template <class F>
static inline __attribute__((always_inline)) void channels(int64_t n, F f) {
  int64_t c = 0;
  for (; c + W <= n; c += W) f(c, vec{});
  for (; c < n; c++) f(c, float{});
}

// Calls f for four vectors of channels at a time while there are as many, then for one: f sums over rows in registers.
template <class F>
static inline __attribute__((always_inline)) void channel_groups(int64_t n, F f) {
  int64_t c = 0;
  for (; c + 4 * W <= n; c += 4 * W) f(c, vec{}, std::integral_constant<int, 4>{});
  for (; c + W <= n; c += W) f(c, vec{}, std::integral_constant<int, 1>{});
  for (; c < n; c++) f(c, float{}, std::integral_constant<int, 1>{});
}

// max(v, 0), but NaN stays NaN, as in PyTorch: that is how a training that diverged is noticed.
template <class V>
static inline V positive(V v) { return v < 0 ? V{} : v; }

// Calls f(tile from 0, image, row, column of the first pixel of its outputs).
template <class F>
static inline __attribute__((always_inline)) void each_tile(const Image &im, int64_t first, int64_t n, F f) {
  int64_t image = first / im.tiles(), row = first % im.tiles() / im.columns(), column = first % im.columns();
  for (int64_t t = 0; t < n; t++) {
    f(t, image * im.h * im.w * im.c, 2 * row, 2 * column);
    if (++column == im.columns()) column = 0, row++;
    if (row == im.rows()) row = 0, image++;
  }
}

static void input_tiles(const float *x, Image im, int64_t first, int64_t n, Faces to) {
  each_tile(im, first, n, [&](int64_t t, int64_t image, int64_t row, int64_t column) {
    const float *d[4][4];
    bool inside[4][4];
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) {
        int64_t r = row + i - 1, s = column + j - 1;
        inside[i][j] = r >= 0 && r < im.h && s >= 0 && s < im.w;
        d[i][j] = x + image + (r * im.w + s) * im.c;
      }
    bool whole = row > 0 && row + 2 < im.h && column > 0 && column + 2 < im.w;
    float *out = to.data + t * to.row;
    auto transform = [&](int64_t c, auto v, auto at) __attribute__((always_inline)) {
      typedef decltype(v) V;
      V m[4][4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        V d0 = at(0, j, c, v), d1 = at(1, j, c, v), d2 = at(2, j, c, v), d3 = at(3, j, c, v);
        m[0][j] = d0 - d2, m[1][j] = d1 + d2, m[2][j] = d2 - d1, m[3][j] = d1 - d3;
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        float *o = out + 4 * i * to.face + c;
        store<V>(o, m[i][0] - m[i][2]);
        store<V>(o + to.face, m[i][1] + m[i][2]);
        store<V>(o + 2 * to.face, m[i][2] - m[i][1]);
        store<V>(o + 3 * to.face, m[i][1] - m[i][3]);
      }
    };
    if (whole)
      channels(im.c, [&](int64_t c, auto v) __attribute__((always_inline)) {
        transform(c, v, [&](int i, int j, int64_t c, auto v) __attribute__((always_inline)) { return load<decltype(v)>(d[i][j] + c); });
      });
    else
      channels(im.c, [&](int64_t c, auto v) __attribute__((always_inline)) {
        transform(c, v, [&](int i, int j, int64_t c, auto v) __attribute__((always_inline)) { return inside[i][j] ? load<decltype(v)>(d[i][j] + c) : decltype(v){}; });
      });
  });
}

static void output_tiles_back(const float *y, Image im, int64_t first, int64_t n, Faces to) {
  each_tile(im, first, n, [&](int64_t t, int64_t image, int64_t row, int64_t column) {
    bool below = row + 1 < im.h, right = column + 1 < im.w;
    const float *g = y + image + (row * im.w + column) * im.c, *h = g + im.w * im.c;
    float *out = to.data + t * to.row;
    channels(im.c, [&](int64_t c, auto v) __attribute__((always_inline)) {
      typedef decltype(v) V;
      V a = load<V>(g + c), b = right ? load<V>(g + im.c + c) : V{};
      V d = below ? load<V>(h + c) : V{}, e = below && right ? load<V>(h + im.c + c) : V{};
      V m[4][2] = {{a, b}, {a + d, b + e}, {a - d, b - e}, {-d, -e}};
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        float *o = out + 4 * i * to.face + c;
        store<V>(o, m[i][0]);
        store<V>(o + to.face, m[i][0] + m[i][1]);
        store<V>(o + 2 * to.face, m[i][0] - m[i][1]);
        store<V>(o + 3 * to.face, -m[i][1]);
      }
    });
  });
}

static void output_tiles(Faces from, Image im, int64_t first, int64_t n, float *y) {
  each_tile(im, first, n, [&](int64_t t, int64_t image, int64_t row, int64_t column) {
    bool below = row + 1 < im.h, right = column + 1 < im.w;
    const float *in = from.data + t * from.row;
    float *g = y + image + (row * im.w + column) * im.c, *h = g + im.w * im.c;
    channels(im.c, [&](int64_t c, auto v) __attribute__((always_inline)) {
      typedef decltype(v) V;
      V m[4][2];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const float *o = in + 4 * i * from.face + c;
        V m0 = load<V>(o), m1 = load<V>(o + from.face), m2 = load<V>(o + 2 * from.face), m3 = load<V>(o + 3 * from.face);
        m[i][0] = m0 + m1 + m2;
        m[i][1] = m1 - m2 - m3;
      }
      store<V>(g + c, m[0][0] + m[1][0] + m[2][0]);
      if (right) store<V>(g + im.c + c, m[0][1] + m[1][1] + m[2][1]);
      if (below) store<V>(h + c, m[1][0] - m[2][0] - m[3][0]);
      if (below && right) store<V>(h + im.c + c, m[1][1] - m[2][1] - m[3][1]);
    });
  });
}

static void weights(const float *w, int64_t k, int64_t outs, int64_t ins, const int64_t stride[4], float *to, int64_t face) {
  int64_t n = outs - k < NR ? outs - k : NR;
  for (int64_t c = 0; c < ins; c++, to += NR) {
    float g[3][3][NR] = {};
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++)
        for (int64_t o = 0; o < n; o++) g[i][j][o] = w[(k + o) * stride[0] + c * stride[1] + i * stride[2] + j * stride[3]];
    for (int64_t o = 0; o < NR; o += W) {
      vec m[4][3];
      for (int j = 0; j < 3; j++) {
        vec a = load<vec>(&g[0][j][o]), b = load<vec>(&g[1][j][o]), d = load<vec>(&g[2][j][o]);
        m[0][j] = a, m[1][j] = (a + b + d) * 0.5f, m[2][j] = (a - b + d) * 0.5f, m[3][j] = d;
      }
      for (int i = 0; i < 4; i++) {
        float *p = to + 4 * i * face + o;
        store<vec>(p, m[i][0]);
        store<vec>(p + face, (m[i][0] + m[i][1] + m[i][2]) * 0.5f);
        store<vec>(p + 2 * face, (m[i][0] - m[i][1] + m[i][2]) * 0.5f);
        store<vec>(p + 3 * face, m[i][2]);
      }
    }
  }
}

static void weights_back(Faces from, int64_t c, int64_t outs, const int64_t stride[4], float *w) {
  const float *u = from.data + c * from.row;
  w += c * stride[1];
  channels(outs, [&](int64_t k, auto v) __attribute__((always_inline)) {
    typedef decltype(v) V;
    V m[3][4];
    for (int j = 0; j < 4; j++) {
      const float *p = u + j * from.face + k;
      V a = load<V>(p), b = load<V>(p + 4 * from.face), d = load<V>(p + 8 * from.face), e = load<V>(p + 12 * from.face);
      m[0][j] = a + (b + d) * 0.5f, m[1][j] = (b - d) * 0.5f, m[2][j] = (b + d) * 0.5f + e;
    }
    for (int i = 0; i < 3; i++) {
      V g[3] = {m[i][0] + (m[i][1] + m[i][2]) * 0.5f, (m[i][1] - m[i][2]) * 0.5f, (m[i][1] + m[i][2]) * 0.5f + m[i][3]};
      for (int j = 0; j < 3; j++) {
        const float *lanes = reinterpret_cast<const float *>(&g[j]);
        for (size_t o = 0; o < sizeof(V) / sizeof(float); o++)
          w[(k + o) * stride[0] + i * stride[2] + j * stride[3]] = lanes[o];
      }
    }
  });
}

static void product(int64_t m, int64_t n, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_row,
                    float *c, int64_t c_row, bool add) {
  for (; m > 0; m -= MR, a += MR * a_row, c += MR * c_row) {
    vec sum[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
      for (int j = 0; j < NV; j++) sum[i][j] = add ? load<vec>(c + i * c_row + j * W) : vec{};
    const float *p = a, *q = b;
    for (int64_t l = 0; l < n; l++, p += a_column, q += b_row) {
      vec r[NV];
#pragma GCC unroll 16
      for (int j = 0; j < NV; j++) r[j] = load<vec>(q + j * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; i++) {
        vec s = p[i * a_row] - vec{};
#pragma GCC unroll 16
        for (int j = 0; j < NV; j++) sum[i][j] += s * r[j];
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
      for (int j = 0; j < NV; j++) store<vec>(c + i * c_row + j * W, sum[i][j]);
  }
}

static inline float root(float x) { return __builtin_sqrtf(x); }
static inline vec root(vec x) { return (vec)SQRT(x); }

static void adamw(float *weights, const float *grads, float *exp_avg, float *exp_avg_sq, int64_t n, AdamW s) {
  channels(n, [&](int64_t i, auto vector) __attribute__((always_inline)) {
    typedef decltype(vector) V;
    V g = load<V>(grads + i);
    V m = load<V>(exp_avg + i) * s.beta1 + g * s.one_minus_beta1;
    V v = load<V>(exp_avg_sq + i) * s.beta2 + g * g * s.one_minus_beta2;
    store<V>(exp_avg + i, m);
    store<V>(exp_avg_sq + i, v);
    store<V>(weights + i, load<V>(weights + i) * s.decay - s.step_size * m / (root(v) / s.sqrt_correction2 + s.eps));
  });
}

// The functions below return auto so that they are instantiated where they are first used, for this instruction set.

// The integer nearest to t, ties to even, in the range; NaN stays NaN.
template <class V>
static inline __attribute__((always_inline)) auto quant_nearest(V t, const FakeQuant &q) {
  constexpr float even = 3 << 22;  // from there on floats are integers
  t = t < q.low ? V{} + q.low : t;
  t = t > q.high ? V{} + q.high : t;
  return (t + even) - even;
}

// v as the quantised term of a sum, and the addend.
template <class V>
static inline __attribute__((always_inline)) auto quant_sum(V v, V add, const QuantNorm &q) {
  return quant_nearest<V>(v * q.term.inverse, q.term) * q.term.scale + add * q.add;
}

// The gradient d of what v became: behind ReLU and its quantisation, or as a term of a sum.
template <class V>
static inline __attribute__((always_inline)) auto quant_passed(V d, V v, bool relu, bool term, const QuantNorm &q) {
  const FakeQuant &f = term ? q.term : q.out;
  V t = v * f.inverse;
  float first = relu && !term ? 0 : f.first;
  d = (relu && !term ? t > first : t >= first) ? d : V{};
  return t <= f.last ? d : V{};
}

typedef uint8_t bytes __attribute__((vector_size(W)));
typedef int32_t lanes __attribute__((vector_size(4 * W)));

static inline void store_mask(uint8_t *p, bool m) { *p = m; }
static inline void store_mask(uint8_t *p, lanes m) {
  bytes b = __builtin_convertvector(m, bytes);
  __builtin_memcpy(p, &b, sizeof b);
}
template <class V>
static inline __attribute__((always_inline)) auto load_mask(const uint8_t *p) {
  if constexpr (sizeof(V) == sizeof(float))
    return *p != 0;
  else
    return __builtin_convertvector(load_as<bytes>(p), lanes) != 0;
}

static void quant_weights(const float *w, int64_t n, float limit, float *scale, float *integers) {
  vec most = {};
  float tail = 0;
  channels(n, [&](int64_t i, auto v) __attribute__((always_inline)) {
    typedef decltype(v) V;
    V x = load<V>(w + i), size = x < 0 ? -x : x;
    if constexpr (sizeof(V) == sizeof(float))
      tail = size > tail || size != size ? size : tail;
    else
      most = (size > most) | (size != size) ? size : most;
  });
  for (int i = 0; i < W; i++) tail = most[i] > tail || most[i] != most[i] ? most[i] : tail;
  float s = tail / limit, inverse;
  *scale = s = s < kQuantEps ? kQuantEps : s;
  inverse = 1 / s;
  FakeQuant q = {s, inverse, -limit, limit, 0, 0};
  channels(n, [&](int64_t i, auto v) __attribute__((always_inline)) {
    typedef decltype(v) V;
    store<V>(integers + i, quant_nearest<V>(load<V>(w + i) * inverse, q));
  });
}

#define E float
#include "norm_kernels.h"
#undef E
#define E bf16
#include "norm_kernels.h"
#undef E

static const Simd simd = {MR, NR, input_tiles, output_tiles_back, output_tiles, weights, weights_back, product, adamw, quant_weights,
                          {moments, norm_forward, norm_sums, norm_backward, extremes, quant_sum_extremes, quant_forward, quant_sums, quant_backward},
                          {moments, norm_forward, norm_sums, norm_backward, extremes, quant_sum_extremes, quant_forward, quant_sums, quant_backward}};
