// Batch normalisation, an addition and ReLU, as norm.cc describes them, on rows × c numbers (channels_last); c is a
// multiple of 8.
//
// Sums over rows: a thread adds up eight channels of some rows, a block joins its threads' sums in their order and
// writes them to parts, and the block that finishes last joins the parts. So the bits are the same in every run.

const int kThreads = 256;  // of a block; also the most groups of eight channels
enum { kMean, kScale, kShift, kInvStd, kStatistics };  // rows of statistics: kStatistics × c

// How the threads of a block share rows of c channels: each has eight of them, in every slots-th row.
struct Share {
  int slots, slot, channel;
  bool busy;
};

DEVICE Share share(int c) {
  int lanes = c / kEight, slots = kThreads / lanes, slot = threadIdx.x / lanes;
  return {slots, slot, (int)threadIdx.x % lanes * kEight, slot < slots};
}

// Sums of a and b over the slots of a block, to out[0..c) and out[c..2c).
DEVICE void join(Share s, int c, const float a[kEight], const float b[kEight], float *out) {
  __shared__ float sums[2][kThreads * kEight];
  __syncthreads();
  if (s.busy)
    for (int k = 0; k < kEight; k++) {
      sums[0][s.slot * c + s.channel + k] = a[k];
      sums[1][s.slot * c + s.channel + k] = b[k];
    }
  __syncthreads();
  for (int i = threadIdx.x; i < c; i += kThreads) {
    float sa = 0, sb = 0;
    for (int slot = 0; slot < s.slots; slot++) sa += sums[0][slot * c + i], sb += sums[1][slot * c + i];
    out[i] = sa, out[c + i] = sb;
  }
  __syncthreads();
}

// Joins the sums of all blocks: true in the block that finishes last, where parts[0..2c) then holds them.
DEVICE bool join_blocks(Share s, int c, const float a[kEight], const float b[kEight], float *parts, unsigned *ticket) {
  join(s, c, a, b, parts + 2 * (long long)c * blockIdx.x);
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last) return false;
  __threadfence();
  float sa[kEight] = {}, sb[kEight] = {};
  if (s.busy)
    for (int block = s.slot; block < gridDim.x; block += s.slots) {
      const volatile float *part = parts + 2 * (long long)c * block + s.channel;  // past the first cache, which may be stale
      for (int k = 0; k < kEight; k++) sa[k] += part[k], sb[k] += part[c + k];
    }
  join(s, c, sa, sb, parts);
  if (threadIdx.x == 0) *ticket = 0;
  return true;
}

DEVICE void set_statistics(float *statistics, int c, int i, double mean, double variance, float eps, const float *weight, const float *bias) {
  double invstd = 1 / sqrt(variance + eps), scale = weight[i] * invstd;
  statistics[kMean * c + i] = mean, statistics[kInvStd * c + i] = invstd;
  statistics[kScale * c + i] = scale, statistics[kShift * c + i] = bias[i] - mean * scale;
}

// Statistics of a batch, which move the running ones. Sums are those of x less its first row, so that little is lost.
template <class E>
DEVICE void norm_moments(const E *x, long long rows, int c, float *parts, unsigned *ticket, const float *weight, const float *bias,
                         float *running_mean, float *running_var, float momentum, float eps, float *statistics) {
  Share s = share(c);
  float sum[kEight] = {}, square[kEight] = {}, first[kEight], in[kEight];
  if (s.busy) {
    load(x + s.channel, first);
    for (long long r = (long long)blockIdx.x * s.slots + s.slot; r < rows; r += (long long)gridDim.x * s.slots) {
      load(x + r * c + s.channel, in);
#pragma unroll
      for (int k = 0; k < kEight; k++) {
        float d = in[k] - first[k];
        sum[k] += d, square[k] += d * d;
      }
    }
  }
  if (!join_blocks(s, c, sum, square, parts, ticket)) return;
  for (int i = threadIdx.x; i < c; i += kThreads) {
    double d = parts[i] / (double)rows, squares = parts[c + i] - d * d * rows, mean = to_float(x[i]) + d;
    if (squares < 0) squares = 0;
    set_statistics(statistics, c, i, mean, squares / rows, eps, weight, bias);
    running_mean[i] = momentum * mean + (1.0 - momentum) * running_mean[i];
    running_var[i] = momentum * squares / (rows - 1) + (1.0 - momentum) * running_var[i];
  }
}
#define PARAMETERS(E) (const E *x, long long rows, int c, float *parts, unsigned *ticket, const float *weight, const float *bias, \
                       float *running_mean, float *running_var, float momentum, float eps, float *statistics)
KERNELS(norm_moments, PARAMETERS, (x, rows, c, parts, ticket, weight, bias, running_mean, running_var, momentum, eps, statistics))
#undef PARAMETERS

// The running statistics as statistics.
KERNEL(norm_running, (int c, const float *weight, const float *bias, const float *running_mean, const float *running_var, float eps, float *statistics)) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < c) set_statistics(statistics, c, i, running_mean[i], running_var[i], eps, weight, bias);
}

// y = f(x·scale + shift + add), where f is ReLU or nothing and add may be NULL. Rounds where PyTorch does.
template <class E>
DEVICE void norm_forward(const E *x, const E *add, long long rows, int c, const float *statistics, bool relu, E *y) {
  int lanes = c / kEight;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < rows * lanes; i += (long long)gridDim.x * blockDim.x) {
    float in[kEight], scale[kEight], shift[kEight], more[kEight];
    int channel = (int)(i % lanes) * kEight;
    load(x + i * kEight, in);
    load(statistics + kScale * c + channel, scale);
    load(statistics + kShift * c + channel, shift);
    if (add) load(add + i * kEight, more);
#pragma unroll
    for (int k = 0; k < kEight; k++) {
      in[k] = in[k] * scale[k] + shift[k];
      if (add) in[k] = rounded<E>(in[k]) + more[k];
      if (relu && !(in[k] > 0)) in[k] = in[k] != in[k] ? in[k] : 0;  // not a number stays that
    }
    store(y + i * kEight, in);
  }
}
#define PARAMETERS(E) (const E *x, const E *add, long long rows, int c, const float *statistics, bool relu, E *y)
KERNELS(norm_forward, PARAMETERS, (x, add, rows, c, statistics, relu, y))
#undef PARAMETERS

// Whether ReLU let a number through.
DEVICE bool through(float x, float scale, float shift) { return x * scale + shift > 0; }

// Sums of dy and dy·(x - mean), where ReLU let it through (where y, if given, is positive), and what follows from them. If
// passed is given, it becomes the gradient of add: dy behind ReLU.
template <class E>
DEVICE void norm_sums(const E *dy, const E *x, const E *y, long long rows, int c, const float *statistics, bool relu, float *parts,
                      unsigned *ticket, E *passed, float *dweight, float *dbias, float *slopes) {
  Share s = share(c);
  float sum[kEight] = {}, product[kEight] = {};
  if (s.busy) {
    float mean[kEight], scale[kEight], shift[kEight], in[kEight], d[kEight], out[kEight];
    load(statistics + kMean * c + s.channel, mean);
    load(statistics + kScale * c + s.channel, scale);
    load(statistics + kShift * c + s.channel, shift);
    for (long long r = (long long)blockIdx.x * s.slots + s.slot; r < rows; r += (long long)gridDim.x * s.slots) {
      long long at = r * c + s.channel;
      load(x + at, in);
      load(dy + at, d);
      if (y) load(y + at, out);
#pragma unroll
      for (int k = 0; k < kEight; k++) {
        if (relu && !(y ? out[k] > 0 : through(in[k], scale[k], shift[k]))) d[k] = 0;
        sum[k] += d[k], product[k] += d[k] * (in[k] - mean[k]);
      }
      if (passed) store(passed + at, d);
    }
  }
  if (!join_blocks(s, c, sum, product, parts, ticket)) return;
  for (int i = threadIdx.x; i < c; i += kThreads) {
    float invstd = statistics[kInvStd * c + i], scale = statistics[kScale * c + i];
    dbias[i] = parts[i], dweight[i] = parts[c + i] * invstd;
    slopes[i] = scale * parts[c + i] * invstd * invstd / rows, slopes[c + i] = scale * parts[i] / rows;
  }
}
#define PARAMETERS(E) (const E *dy, const E *x, const E *y, long long rows, int c, const float *statistics, bool relu, float *parts, \
                       unsigned *ticket, E *passed, float *dweight, float *dbias, float *slopes)
KERNELS(norm_sums, PARAMETERS, (dy, x, y, rows, c, statistics, relu, parts, ticket, passed, dweight, dbias, slopes))
#undef PARAMETERS

// dx = dy·scale - (x - mean)·slope - offset
template <class E>
DEVICE void norm_backward(const E *dy, const E *x, long long rows, int c, const float *statistics, bool relu, const float *slopes, E *dx) {
  int lanes = c / kEight;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < rows * lanes; i += (long long)gridDim.x * blockDim.x) {
    float d[kEight], in[kEight], mean[kEight], scale[kEight], shift[kEight], slope[kEight], offset[kEight];
    int channel = (int)(i % lanes) * kEight;
    load(dy + i * kEight, d);
    load(x + i * kEight, in);
    load(statistics + kMean * c + channel, mean);
    load(statistics + kScale * c + channel, scale);
    load(statistics + kShift * c + channel, shift);
    load(slopes + channel, slope);
    load(slopes + c + channel, offset);
#pragma unroll
    for (int k = 0; k < kEight; k++) {
      if (relu && !through(in[k], scale[k], shift[k])) d[k] = 0;
      d[k] = d[k] * scale[k] - (in[k] - mean[k]) * slope[k] - offset[k];
    }
    store(dx + i * kEight, d);
  }
}
#define PARAMETERS(E) (const E *dy, const E *x, long long rows, int c, const float *statistics, bool relu, const float *slopes, E *dx)
KERNELS(norm_backward, PARAMETERS, (dy, x, rows, c, statistics, relu, slopes, dx))
#undef PARAMETERS
