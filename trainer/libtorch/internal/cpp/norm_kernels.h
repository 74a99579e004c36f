// Included by kernels.h for each type E of the memory that the normalisation works on: float or bf16. All is computed in
// float. No templates of E, because what is instantiated later is not compiled for the instruction set.

static void moments(const E *x, int64_t rows, int64_t c, float *mean, float *squares) {
  channel_groups(c, [&](int64_t i, auto v, auto vectors) INLINE {
    typedef decltype(v) V;
    constexpr int n = vectors, w = sizeof(V) / sizeof(float);
    V sum[n] = {}, square[n] = {};
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 4
      for (int j = 0; j < n; j++) sum[j] += load<V>(x + r * c + i + j * w);
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) store<V>(mean + i + j * w, sum[j] = sum[j] / float(rows));
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 4
      for (int j = 0; j < n; j++) {
        V d = load<V>(x + r * c + i + j * w) - sum[j];
        square[j] += d * d;
      }
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) store<V>(squares + i + j * w, square[j]);
  });
}

// Rounds where PyTorch does, which writes the normalised numbers before it adds.
static void norm_forward(const E *x, const E *add, int64_t rows, int64_t c, Norm n, bool relu, E *y) {
  for (int64_t r = 0; r < rows; r++, x += c, y += c, add += add ? c : 0)
    channels(c, [&](int64_t i, auto v) INLINE {
      typedef decltype(v) V;
      V out = load<V>(x + i) * load<V>(n.scale + i) + load<V>(n.shift + i);
      if (add) out = rounded<E>(out) + load<V>(add + i);
      store<V>(y + i, relu ? positive(out) : out);
    });
}

static void norm_sums(const E *dy, const E *x, const E *y, int64_t rows, int64_t c, Norm n, bool relu, float *sum,
                      float *product, E *passed) {
  channel_groups(c, [&](int64_t i, auto v, auto vectors) INLINE {
    typedef decltype(v) V;
    constexpr int m = vectors, w = sizeof(V) / sizeof(float);
    V s[m] = {}, p[m] = {};
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 4
      for (int j = 0; j < m; j++) {
        int64_t channel = i + j * w, at = r * c + channel;
        V in = load<V>(x + at), d = load<V>(dy + at);
        if (relu) d = (y ? load<V>(y + at) : in * load<V>(n.scale + channel) + load<V>(n.shift + channel)) > 0 ? d : V{};
        if (passed) store<V>(passed + at, d);
        s[j] += d;
        p[j] += d * (in - load<V>(n.mean + channel));
      }
#pragma GCC unroll 4
    for (int j = 0; j < m; j++) store<V>(sum + i + j * w, s[j]), store<V>(product + i + j * w, p[j]);
  });
}

static void norm_backward(const E *dy, const E *x, int64_t rows, int64_t c, Norm n, bool relu, const float *slope,
                          const float *offset, E *dx) {
  for (int64_t r = 0; r < rows; r++, x += c, dy += c, dx += c)
    channels(c, [&](int64_t i, auto v) INLINE {
      typedef decltype(v) V;
      V in = load<V>(x + i), d = load<V>(dy + i), scale = load<V>(n.scale + i);
      if (relu) d = in * scale + load<V>(n.shift + i) > 0 ? d : V{};
      store<V>(dx + i, d * scale - (in - load<V>(n.mean + i)) * load<V>(slope + i) - load<V>(offset + i));
    });
}

// ---- With fake quantisation ----

static void extremes(const E *x, int64_t rows, int64_t c, float *low, float *high) {
  channel_groups(c, [&](int64_t i, auto v, auto vectors) INLINE {
    typedef decltype(v) V;
    constexpr int n = vectors, w = sizeof(V) / sizeof(float);
    V l[n], h[n];
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) l[j] = h[j] = load<V>(x + i + j * w);
    for (int64_t r = 1; r < rows; r++)
#pragma GCC unroll 4
      for (int j = 0; j < n; j++) {
        V in = load<V>(x + r * c + i + j * w);
        l[j] = in < l[j] ? in : l[j];
        h[j] = in > h[j] ? in : h[j];
      }
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) store<V>(low + i + j * w, l[j]), store<V>(high + i + j * w, h[j]);
  });
}

static void quant_sum_extremes(const E *x, const E *add, int64_t rows, int64_t c, Norm n, bool relu, QuantNorm q, float *low, float *high) {
  vec l = vec{} + *low, h = vec{} + *high;
  float tail_low = *low, tail_high = *high;
  for (int64_t r = 0; r < rows; r++, x += c, add += c)
    channels(c, [&](int64_t i, auto v) INLINE {
      typedef decltype(v) V;
      V out = quant_sum<V>(load<V>(x + i) * load<V>(n.scale + i) + load<V>(n.shift + i), load<V>(add + i), q);
      if (relu) out = out < 0 ? V{} : out;
      if constexpr (sizeof(V) == sizeof(float)) {
        tail_low = out < tail_low ? out : tail_low;
        tail_high = out > tail_high ? out : tail_high;
      } else {
        l = out < l ? out : l;
        h = out > h ? out : h;
      }
    });
  *low = tail_low, *high = tail_high;
  for (int i = 0; i < W; i++) {
    *low = l[i] < *low ? l[i] : *low;
    *high = h[i] > *high ? h[i] : *high;
  }
}

static void quant_forward(const E *x, const E *add, int64_t rows, int64_t c, Norm n, bool relu, QuantNorm q, E *y, uint8_t *passes) {
  for (int64_t r = 0; r < rows; r++, x += c, y += c, add += add ? c : 0, passes += passes ? c : 0)
    channels(c, [&](int64_t i, auto v) INLINE {
      typedef decltype(v) V;
      V out = load<V>(x + i) * load<V>(n.scale + i) + load<V>(n.shift + i);
      if (add) out = quant_sum<V>(out, load<V>(add + i), q);
      V positive = out < 0 ? V{} : out, t = (relu ? positive : out) * q.out.inverse;
      if (passes) store_mask(passes + i, (t >= q.out.first) & (t <= q.out.last) & (out > (relu ? 0 : -__builtin_inff())));
      store<V>(y + i, quant_nearest<V>(t, q.out));
    });
}

static void quant_sums(const E *dy, const E *x, const uint8_t *passes, int64_t rows, int64_t c, Norm n, bool relu, QuantNorm q,
                       float *sum, float *product, E *passed) {
  channel_groups(c, [&](int64_t i, auto v, auto vectors) INLINE {
    typedef decltype(v) V;
    constexpr int m = vectors, w = sizeof(V) / sizeof(float);
    V s[m] = {}, p[m] = {};
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 4
      for (int j = 0; j < m; j++) {
        int64_t channel = i + j * w, at = r * c + channel;
        V in = load<V>(x + at), d = load<V>(dy + at) * q.out.inverse;
        if (passes) {
          d = load_mask<V>(passes + at) ? d : V{};
          store<V>(passed + at, d * q.add);
        }
        d = quant_passed<V>(d, in * load<V>(n.scale + channel) + load<V>(n.shift + channel), relu, passes, q);
        s[j] += d;
        p[j] += d * (in - load<V>(n.mean + channel));
      }
#pragma GCC unroll 4
    for (int j = 0; j < m; j++) store<V>(sum + i + j * w, s[j]), store<V>(product + i + j * w, p[j]);
  });
}

// With an addend dy is the gradient of that, which says where the sum let it through.
static void quant_backward(const E *dy, const E *x, bool add, int64_t rows, int64_t c, Norm n, bool relu, QuantNorm q,
                           const float *slope, const float *offset, E *dx) {
  float factor = add ? 1 / q.add : q.out.inverse;
  for (int64_t r = 0; r < rows; r++, x += c, dy += c, dx += c)
    channels(c, [&](int64_t i, auto v) INLINE {
      typedef decltype(v) V;
      V in = load<V>(x + i), scale = load<V>(n.scale + i);
      V d = quant_passed<V>(load<V>(dy + i) * factor, in * scale + load<V>(n.shift + i), relu, add, q);
      store<V>(dx + i, d * scale - (in - load<V>(n.mean + i)) * load<V>(slope + i) - load<V>(offset + i));
    });
}
