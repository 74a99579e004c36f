// Batch normalisation, an addition and ReLU, as norm.cc describes them, on rows × c numbers (channels_last); c is a
// multiple of 8.
//
// The channels are cut into slabs of 64, which blocks share by blockIdx.y. A thread has the same eight channels all the time, in some of
// the rows, and keeps what is known of them.
//
// Sums over rows: a thread adds up its rows, a block joins its threads' sums in their order and writes them to parts, and the block of the
// slab that finishes last joins the parts. So the bits are the same in every run.

enum { kMean, kScale, kShift, kInvStd, kStatistics };  // rows of statistics: kStatistics × c

// What a thread of a block works on: eight channels, in every step-th row from the first.
struct Share {
  int channels, slots, slot;  // of its slab
  int lane, channel;          // its first channel, in the slab and in all
  long long row, step;
  bool busy;
};

DEVICE Share share(int c) {
  Share s;
  int first = blockIdx.y * kSlab;
  s.channels = c - first < kSlab ? c - first : kSlab;
  int lanes = s.channels / kEight;
  s.slots = kThreads / lanes, s.slot = threadIdx.x / lanes, s.busy = s.slot < s.slots;
  s.lane = threadIdx.x % lanes * kEight, s.channel = first + s.lane;
  s.row = (long long)blockIdx.x * s.slots + s.slot, s.step = (long long)gridDim.x * s.slots;
  return s;
}

// Sums of a and b over the slots of a block: those of channel i of the slab to sums[i] and sums[kSlab + i].
DEVICE void join(Share s, const float a[kEight], const float b[kEight], float *sums) {
  alignas(16) __shared__ float all[2][kThreads * kEight];
  __syncthreads();
  if (s.busy) {
    store(all[0] + s.slot * s.channels + s.lane, a);
    store(all[1] + s.slot * s.channels + s.lane, b);
  }
  __syncthreads();
  if (threadIdx.x < 2 * s.channels) {
    int of = threadIdx.x / s.channels, i = threadIdx.x % s.channels;
    float sum = 0;
    for (int slot = 0; slot < s.slots; slot++) sum += all[of][slot * s.channels + i];
    sums[of * kSlab + i] = sum;
  }
  __syncthreads();
}

// Eight numbers that another block wrote: past the first cache, which may be stale.
DEVICE void load_shared(const float *from, float to[kEight]) {
  const float4 *fours = reinterpret_cast<const float4 *>(from);
  float4 a = __ldcg(fours), b = __ldcg(fours + 1);
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

// Joins the sums of all blocks of a slab: true in the one that finishes last, where parts then begins with them, as join has them. A slab
// has a ticket of its own, and 2·kSlab numbers of parts for each block.
DEVICE bool join_blocks(Share s, const float a[kEight], const float b[kEight], float *parts, unsigned *ticket) {
  parts += 2 * kSlab * (long long)gridDim.x * blockIdx.y;
  join(s, a, b, parts + 2 * kSlab * blockIdx.x);
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(ticket + blockIdx.y, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last) return false;
  __threadfence();
  float sa[kEight] = {}, sb[kEight] = {};
  if (s.busy) {
#pragma unroll 4
    for (int block = s.slot; block < gridDim.x; block += s.slots) {
      float pa[kEight], pb[kEight];
      load_shared(parts + 2 * kSlab * block + s.lane, pa);
      load_shared(parts + 2 * kSlab * block + kSlab + s.lane, pb);
#pragma unroll
      for (int k = 0; k < kEight; k++) sa[k] += pa[k], sb[k] += pb[k];
    }
  }
  join(s, sa, sb, parts);
  if (threadIdx.x == 0) ticket[blockIdx.y] = 0;
  return true;
}

// The sums that join_blocks left.
DEVICE float joined(const float *parts, int of, int i) { return parts[2 * kSlab * (long long)gridDim.x * blockIdx.y + of * kSlab + i]; }

DEVICE void set_statistics(float *statistics, int c, int i, double mean, double variance, float eps, const float *weight, const float *bias) {
  double invstd = 1 / sqrt(variance + eps), scale = weight[i] * invstd;
  statistics[kMean * c + i] = mean, statistics[kInvStd * c + i] = invstd;
  statistics[kScale * c + i] = scale, statistics[kShift * c + i] = bias[i] - mean * scale;
}

// Statistics of a batch, which move the running ones. Sums are those of x less its first row, so that little is lost.
template <class E>
DEVICE void norm_moments(const E *__restrict__ x, long long rows, int c, float *parts, unsigned *ticket, const float *weight, const float *bias,
                         float *running_mean, float *running_var, float momentum, float eps, float *statistics) {
  Share s = share(c);
  float sum[kEight] = {}, square[kEight] = {}, first[kEight], in[kEight];
  if (s.busy) {
    load(x + s.channel, first);
    const E *from = x + s.row * c + s.channel;
#pragma unroll 4
    for (long long r = s.row; r < rows; r += s.step, from += s.step * c) {
      load(from, in);
#pragma unroll
      for (int k = 0; k < kEight; k++) {
        float d = in[k] - first[k];
        sum[k] += d, square[k] += d * d;
      }
    }
  }
  if (!join_blocks(s, sum, square, parts, ticket)) return;
  if (threadIdx.x < s.channels) {
    int i = blockIdx.y * kSlab + threadIdx.x;
    float difference = joined(parts, 0, threadIdx.x);
    double d = difference / (double)rows, squares = joined(parts, 1, threadIdx.x) - d * d * rows, mean = to_float(x[i]) + d;
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
DEVICE void norm_forward(const E *__restrict__ x, const E *__restrict__ add, long long rows, int c, const float *statistics, bool relu,
                         E *__restrict__ y) {
  Share s = share(c);
  if (!s.busy) return;
  float scale[kEight], shift[kEight], in[kEight], more[kEight];
  load(statistics + kScale * c + s.channel, scale);
  load(statistics + kShift * c + s.channel, shift);
  long long at = s.row * c + s.channel;
#pragma unroll 4
  for (long long r = s.row; r < rows; r += s.step, at += s.step * c) {
    load(x + at, in);
    if (add) load(add + at, more);
#pragma unroll
    for (int k = 0; k < kEight; k++) {
      in[k] = in[k] * scale[k] + shift[k];
      if (add) in[k] = rounded<E>(in[k]) + more[k];
      if (relu && !(in[k] > 0)) in[k] = in[k] != in[k] ? in[k] : 0;  // not a number stays that
    }
    store(y + at, in);
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
DEVICE void norm_sums(const E *__restrict__ dy, const E *__restrict__ x, const E *__restrict__ y, long long rows, int c,
                      const float *statistics, bool relu, float *parts, unsigned *ticket, E *__restrict__ passed, float *dweight,
                      float *dbias, float *slopes) {
  Share s = share(c);
  float sum[kEight] = {}, product[kEight] = {};
  if (s.busy) {
    float mean[kEight], scale[kEight], shift[kEight], in[kEight], d[kEight], out[kEight];
    load(statistics + kMean * c + s.channel, mean);
    load(statistics + kScale * c + s.channel, scale);
    load(statistics + kShift * c + s.channel, shift);
    long long at = s.row * c + s.channel;
#pragma unroll 4
    for (long long r = s.row; r < rows; r += s.step, at += s.step * c) {
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
  if (!join_blocks(s, sum, product, parts, ticket)) return;
  if (threadIdx.x < s.channels) {
    int i = blockIdx.y * kSlab + threadIdx.x;
    float all = joined(parts, 0, threadIdx.x), products = joined(parts, 1, threadIdx.x);
    float invstd = statistics[kInvStd * c + i], scale = statistics[kScale * c + i];
    dbias[i] = all, dweight[i] = products * invstd;
    slopes[i] = scale * products * invstd * invstd / rows, slopes[c + i] = scale * all / rows;
  }
}
#define PARAMETERS(E) (const E *dy, const E *x, const E *y, long long rows, int c, const float *statistics, bool relu, float *parts, \
                       unsigned *ticket, E *passed, float *dweight, float *dbias, float *slopes)
KERNELS(norm_sums, PARAMETERS, (dy, x, y, rows, c, statistics, relu, parts, ticket, passed, dweight, dbias, slopes))
#undef PARAMETERS

// dx = dy·scale - (x - mean)·slope - offset
template <class E>
DEVICE void norm_backward(const E *__restrict__ dy, const E *__restrict__ x, long long rows, int c, const float *statistics, bool relu,
                          const float *slopes, E *__restrict__ dx) {
  Share s = share(c);
  if (!s.busy) return;
  float d[kEight], in[kEight], mean[kEight], scale[kEight], shift[kEight], slope[kEight], offset[kEight];
  load(statistics + kMean * c + s.channel, mean);
  load(statistics + kScale * c + s.channel, scale);
  load(statistics + kShift * c + s.channel, shift);
  load(slopes + s.channel, slope);
  load(slopes + c + s.channel, offset);
  long long at = s.row * c + s.channel;
#pragma unroll 4
  for (long long r = s.row; r < rows; r += s.step, at += s.step * c) {
    load(dy + at, d);
    load(x + at, in);
#pragma unroll
    for (int k = 0; k < kEight; k++) {
      if (relu && !through(in[k], scale[k], shift[k])) d[k] = 0;
      d[k] = d[k] * scale[k] - (in[k] - mean[k]) * slope[k] - offset[k];
    }
    store(dx + at, d);
  }
}
#define PARAMETERS(E) (const E *dy, const E *x, long long rows, int c, const float *statistics, bool relu, const float *slopes, E *dx)
KERNELS(norm_backward, PARAMETERS, (dy, x, rows, c, statistics, relu, slopes, dx))
#undef PARAMETERS
