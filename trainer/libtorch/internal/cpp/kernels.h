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
static inline INLINE void channels(int64_t n, F f) {
  int64_t c = 0;
  for (; c + W <= n; c += W) f(c, vec{});
  for (; c < n; c++) f(c, float{});
}

// Calls f for four vectors of channels at a time while there are as many, then for one: f sums over rows in registers.
template <class F>
static inline INLINE void channel_groups(int64_t n, F f) {
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
static inline INLINE void each_tile(const Image &im, int64_t first, int64_t n, F f) {
  int64_t image = first / im.tiles(), row = first % im.tiles() / im.columns(), column = first % im.columns();
  for (int64_t t = 0; t < n; t++) {
    f(t, image * im.h * im.w * im.c, 4 * row, 4 * column);
    if (++column == im.columns()) column = 0, row++;
    if (row == im.rows()) row = 0, image++;
  }
}

// The transforms of one dimension. Of the six points 0, ±P, ±Q, ∞ those that differ in their sign share the even and the odd
// powers. All constants but the K are exact.
constexpr float P = 0.625f, Q = 1.5f, PP = P * P, QQ = Q * Q;
constexpr float K0 = 1 / (PP * QQ), KP = 1 / (2 * PP * (PP - QQ)), KQ = 1 / (2 * QQ * (QQ - PP));

// Bᵀd.
template <class V>
static inline INLINE void input_transform(const V d[6], V to[6]) {
  V even_p = d[4] - d[2] * QQ, odd_p = (d[3] - d[1] * QQ) * P;
  V even_q = d[4] - d[2] * PP, odd_q = (d[3] - d[1] * PP) * Q;
  to[0] = d[0] * (PP * QQ) - d[2] * (PP + QQ) + d[4];
  to[1] = even_p + odd_p, to[2] = even_p - odd_p, to[3] = even_q + odd_q, to[4] = even_q - odd_q;
  to[5] = d[1] * (PP * QQ) - d[3] * (PP + QQ) + d[5];
}

// Aᵀm.
template <class V>
static inline INLINE void output_transform(const V m[6], V to[4]) {
  V even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
  to[0] = m[0] + even_p + even_q;
  to[1] = odd_p * P + odd_q * Q;
  to[2] = even_p * PP + even_q * QQ;
  to[3] = odd_p * (PP * P) + odd_q * (QQ * Q) + m[5];
}

// Ag.
template <class V>
static inline INLINE void output_transform_back(const V g[4], V to[6]) {
  V even_p = g[0] + g[2] * PP, odd_p = g[1] * P + g[3] * (PP * P);
  V even_q = g[0] + g[2] * QQ, odd_q = g[1] * Q + g[3] * (QQ * Q);
  to[0] = g[0], to[1] = even_p + odd_p, to[2] = even_p - odd_p, to[3] = even_q + odd_q, to[4] = even_q - odd_q, to[5] = g[3];
}

// Gw.
template <class V>
static inline INLINE void weights_transform(const V w[3], V to[6]) {
  V even_p = w[0] + w[2] * PP, odd_p = w[1] * P, even_q = w[0] + w[2] * QQ, odd_q = w[1] * Q;
  to[0] = w[0] * K0;
  to[1] = (even_p + odd_p) * KP, to[2] = (even_p - odd_p) * KP, to[3] = (even_q + odd_q) * KQ, to[4] = (even_q - odd_q) * KQ;
  to[5] = w[2];
}

// Gᵀu.
template <class V>
static inline INLINE void weights_transform_back(const V u[6], V to[3]) {
  V even_p = (u[1] + u[2]) * KP, odd_p = (u[1] - u[2]) * KP, even_q = (u[3] + u[4]) * KQ, odd_q = (u[3] - u[4]) * KQ;
  to[0] = u[0] * K0 + even_p + even_q;
  to[1] = odd_p * P + odd_q * Q;
  to[2] = even_p * PP + even_q * QQ + u[5];
}

// A transform in both dimensions: from(i, j) are the N×N numbers, to(i, j, v) takes the M×M.
template <int N, int M, class V, class From, class To>
static inline INLINE void transform(void (*line)(const V *, V *), From from, To to) {
  V columns[N][M], row[N], out[M];
#pragma GCC unroll 6
  for (int j = 0; j < N; j++) {
#pragma GCC unroll 6
    for (int i = 0; i < N; i++) row[i] = from(i, j);
    line(row, columns[j]);
  }
#pragma GCC unroll 6
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 6
    for (int j = 0; j < N; j++) row[j] = columns[j][i];
    line(row, out);
#pragma GCC unroll 6
    for (int j = 0; j < M; j++) to(i, j, out[j]);
  }
}

template <class E>
static void input_tiles(const E *x, Image im, int64_t first, int64_t n, Faces to) {
  each_tile(im, first, n, [&](int64_t t, int64_t image, int64_t row, int64_t column) {
    const E *d[6][6];
    bool inside[6][6];
    for (int i = 0; i < 6; i++)
      for (int j = 0; j < 6; j++) {
        int64_t r = row + i - 1, s = column + j - 1;
        inside[i][j] = r >= 0 && r < im.h && s >= 0 && s < im.w;
        d[i][j] = x + image + (r * im.w + s) * im.c;
      }
    bool whole = row > 0 && row + 4 < im.h && column > 0 && column + 4 < im.w;
    float *out = to.data + t * to.row;
    channels(im.c, [&](int64_t c, auto v) INLINE {
      typedef decltype(v) V;
      auto store_face = [&](int i, int j, V v) INLINE { store<V>(out + (6 * i + j) * to.face + c, v); };
      if (whole)
        transform<6, 6, V>(input_transform<V>, [&](int i, int j) INLINE { return load<V>(d[i][j] + c); }, store_face);
      else
        transform<6, 6, V>(
          input_transform<V>, [&](int i, int j) INLINE { return inside[i][j] ? load<V>(d[i][j] + c) : V{}; }, store_face);
    });
  });
}

template <class E>
static void output_tiles_back(const E *y, Image im, int64_t first, int64_t n, Faces to) {
  each_tile(im, first, n, [&](int64_t t, int64_t image, int64_t row, int64_t column) {
    int64_t h = im.h - row, w = im.w - column;
    const E *g = y + image + (row * im.w + column) * im.c;
    float *out = to.data + t * to.row;
    channels(im.c, [&](int64_t c, auto v) INLINE {
      typedef decltype(v) V;
      transform<4, 6, V>(output_transform_back<V>,
        [&](int i, int j) INLINE { return i < h && j < w ? load<V>(g + (i * im.w + j) * im.c + c) : V{}; },
        [&](int i, int j, V v) INLINE { store<V>(out + (6 * i + j) * to.face + c, v); });
    });
  });
}

template <class E>
static void output_tiles(Faces from, Image im, int64_t first, int64_t n, E *y) {
  each_tile(im, first, n, [&](int64_t t, int64_t image, int64_t row, int64_t column) {
    int64_t h = im.h - row, w = im.w - column;
    const float *in = from.data + t * from.row;
    E *g = y + image + (row * im.w + column) * im.c;
    channels(im.c, [&](int64_t c, auto v) INLINE {
      typedef decltype(v) V;
      transform<6, 4, V>(output_transform<V>,
        [&](int i, int j) INLINE { return load<V>(in + (6 * i + j) * from.face + c); },
        [&](int i, int j, V v) INLINE { if (i < h && j < w) store<V>(g + (i * im.w + j) * im.c + c, v); });
    });
  });
}

// Calls f(i, j) for 0 ≤ i < n, 0 ≤ j < m. Memory goes by lines: the inner index is that which is next to each other there.
template <class F>
static inline INLINE void by_lines(int64_t n, int64_t m, bool outer_adjacent, F f) {
  if (outer_adjacent)
    for (int64_t j = 0; j < m; j++)
      for (int64_t i = 0; i < n; i++) f(i, j);
  else
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < m; j++) f(i, j);
}

// Input channels whose weights are gathered at a time, a line of memory.
constexpr int64_t LINE = 16;

static void weights(const float *w, int64_t k, int64_t outs, int64_t ins, const int64_t stride[4], float *to, int64_t face) {
  int64_t n = outs - k < NR ? outs - k : NR;
  float g[3][3][LINE][NR] = {};
  for (int64_t first = 0; first < ins; first += LINE) {
    int64_t m = ins - first < LINE ? ins - first : LINE;
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) {
        const float *from = w + k * stride[0] + first * stride[1] + i * stride[2] + j * stride[3];
        by_lines(n, m, stride[0] == 1, [&](int64_t o, int64_t c) INLINE {
          g[i][j][c][o] = from[o * stride[0] + c * stride[1]];
        });
      }
    for (int64_t c = 0; c < m; c++, to += NR)
      for (int64_t o = 0; o < NR; o += W)
        transform<3, 6, vec>(weights_transform<vec>,
          [&](int i, int j) INLINE { return load<vec>(&g[i][j][c][o]); },
          [&](int i, int j, vec v) INLINE { store<vec>(to + (6 * i + j) * face + o, v); });
  }
}

static void weights_back(Faces from, int64_t ins, int64_t outs, const int64_t stride[4], float *w) {
  float g[3][3][LINE][W];
  for (int64_t first = 0; first < ins; first += LINE) {
    int64_t m = ins - first < LINE ? ins - first : LINE;
    channels(outs, [&](int64_t k, auto v) INLINE {
      typedef decltype(v) V;
      for (int64_t c = 0; c < m; c++) {
        const float *u = from.data + (first + c) * from.row + k;
        transform<6, 3, V>(weights_transform_back<V>,
          [&](int i, int j) INLINE { return load<V>(u + (6 * i + j) * from.face); },
          [&](int i, int j, V v) INLINE { store<V>(g[i][j][c], v); });
      }
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
          float *to = w + k * stride[0] + first * stride[1] + i * stride[2] + j * stride[3];
          by_lines(sizeof(V) / sizeof(float), m, stride[0] == 1, [&](int64_t o, int64_t c) INLINE {
            to[o * stride[0] + c * stride[1]] = g[i][j][c][o];
          });
        }
    });
  }
}

// The R rows of a product that are computed in registers. Their addresses take few registers: three rows share a pointer, or where
// the rows of A are next to each other, all of them.
template <int R, bool Adjacent>
static inline INLINE void product_rows(int64_t n, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_row,
                                       float *c, int64_t c_row, bool add) {
  constexpr int G = Adjacent ? R : 3, groups = (R + G - 1) / G;
  if (Adjacent) a_row = 1;
  const float *p[groups];
#pragma GCC unroll 16
  for (int g = 0; g < groups; g++) p[g] = a + g * G * a_row;
  vec sum[R][NV] = {};
  for (int64_t l = 0; l < n; l++, b += b_row) {
    vec r[NV];
#pragma GCC unroll 16
    for (int j = 0; j < NV; j++) r[j] = load<vec>(b + j * W);
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
      vec s = p[i / G][i % G * a_row] - vec{};
#pragma GCC unroll 16
      for (int j = 0; j < NV; j++) sum[i][j] += s * r[j];
    }
#pragma GCC unroll 16
    for (int g = 0; g < groups; g++) {
      p[g] += a_column;
      __asm__("" : "+r"(p[g]));  // or the compiler computes the address of every row
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; i++)
#pragma GCC unroll 16
    for (int j = 0; j < NV; j++) {
      float *to = c + i * c_row + j * W;
      store<vec>(to, add ? load<vec>(to) + sum[i][j] : sum[i][j]);
    }
}

// The remaining rows are taken in powers of two.
template <int R, bool Adjacent>
static inline INLINE void product_from(int64_t m, int64_t n, const float *a, int64_t a_row, int64_t a_column, const float *b,
                                       int64_t b_row, float *c, int64_t c_row, bool add) {
  for (; m >= R; m -= R, a += R * a_row, c += R * c_row)
    product_rows<R, Adjacent>(n, a, a_row, a_column, b, b_row, c, c_row, add);
  constexpr int Next = R < MR ? R / 2 : MR > 8 ? 8 : 4;
  if constexpr (R > 1) product_from<Next, Adjacent>(m, n, a, a_row, a_column, b, b_row, c, c_row, add);
}

static void product(int64_t m, int64_t n, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_row,
                    float *c, int64_t c_row, bool add) {
  if (a_row == 1)
    product_from<MR, true>(m, n, a, a_row, a_column, b, b_row, c, c_row, add);
  else
    product_from<MR, false>(m, n, a, a_row, a_column, b, b_row, c, c_row, add);
}

static inline float root(float x) { return __builtin_sqrtf(x); }
static inline vec root(vec x) { return (vec)SQRT(x); }

static void adamw(float *weights, const float *grads, float *exp_avg, float *exp_avg_sq, int64_t n, AdamW s) {
  channels(n, [&](int64_t i, auto vector) INLINE {
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
static inline INLINE auto quant_nearest(V t, const FakeQuant &q) {
  constexpr float even = 3 << 22;  // from there on floats are integers
  t = t < q.low ? V{} + q.low : t;
  t = t > q.high ? V{} + q.high : t;
  return (t + even) - even;
}

// v as the quantised term of a sum, and the addend.
template <class V>
static inline INLINE auto quant_sum(V v, V add, const QuantNorm &q) {
  return quant_nearest<V>(v * q.term.inverse, q.term) * q.term.scale + add * q.add;
}

// The gradient d of what v became: behind ReLU and its quantisation, or as a term of a sum.
template <class V>
static inline INLINE auto quant_passed(V d, V v, bool relu, bool term, const QuantNorm &q) {
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
static inline INLINE auto load_mask(const uint8_t *p) {
  if constexpr (sizeof(V) == sizeof(float))
    return *p != 0;
  else
    return __builtin_convertvector(load_as<bytes>(p), lanes) != 0;
}

static void quant_weights(const float *w, int64_t n, float limit, float *scale, float *integers) {
  vec most = {};
  float tail = 0;
  channels(n, [&](int64_t i, auto v) INLINE {
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
  channels(n, [&](int64_t i, auto v) INLINE {
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

static const Simd simd = {NR, {input_tiles, output_tiles_back, output_tiles}, {input_tiles, output_tiles_back, output_tiles}, weights, weights_back, product, adamw, quant_weights,
                          {moments, norm_forward, norm_sums, norm_backward, extremes, quant_sum_extremes, quant_forward, quant_sums, quant_backward},
                          {moments, norm_forward, norm_sums, norm_backward, extremes, quant_sum_extremes, quant_forward, quant_sums, quant_backward}};
