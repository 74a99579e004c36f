// Batches from a data set in the memory of the device: bytes until here. The same augmentation as package data makes, bit
// by bit: what happens to an image follows from (seed, epoch, index).

typedef unsigned long long u64;

DEVICE u64 split_mix64(u64 x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

// PCG-DXSM as in Go's math/rand/v2.
struct PCG { u64 hi, lo; };

DEVICE PCG stream(u64 seed, unsigned epoch, u64 index) {
  u64 h = split_mix64(split_mix64(split_mix64(seed) ^ epoch) ^ index);
  return {h, split_mix64(h)};
}

DEVICE u64 next(PCG &g) {
  const u64 mul_hi = 2549297995355413924ull, mul_lo = 4865540595714422341ull;
  const u64 inc_hi = 6364136223846793005ull, inc_lo = 1442695040888963407ull;
  u64 hi = __umul64hi(g.lo, mul_lo) + g.hi * mul_lo + g.lo * mul_hi, lo = g.lo * mul_lo + inc_lo;
  hi += inc_hi + (lo < inc_lo ? 1 : 0);
  g.hi = hi, g.lo = lo;
  hi ^= hi >> 32;
  hi *= 0xda942042e4dd58b5ull;
  hi ^= hi >> 48;
  return hi * (lo | 1);
}

DEVICE int below(PCG &g, int n) { return (int)__umul64hi(next(g), (u64)n); }

// What torchvision's RandomCrop(size, padding) and RandomHorizontalFlip draw, and the middle of cutout.
struct Choice { int top, left, flip, y, x; };

DEVICE Choice choose(Augmentation a, unsigned epoch, u64 index, int h, int w) {
  PCG g = stream(a.seed, epoch, index);
  Choice c = {a.padding, a.padding, 0, 0, 0};
  if (a.padding > 0) {
    c.top = below(g, 2 * a.padding + 1);
    c.left = below(g, 2 * a.padding + 1);
  }
  if (a.flip) c.flip = below(g, 2);
  if (a.cutout > 0) {
    c.y = below(g, h);
    c.x = below(g, w);
  }
  return c;
}

DEVICE int reflected(int i, int n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

// Image blockIdx.x of a batch of n, as h×w×c numbers: table[value·c + channel]. The batch is images clock·n to (clock+1)·n of order,
// which need not be there if it is the first n, nor the epoch if nothing is random. Labels, if there are any, go to classes.
KERNEL(batch_images, (const unsigned char *pixels, const long long *labels, const long long *order, const long long *clock,
                      const long long *epoch, Augmentation a, const float *table, int h, int w, int c, float *images, long long *classes)) {
  long long index = order ? order[*clock * gridDim.x + blockIdx.x] : blockIdx.x;
  __shared__ Choice choice;
  if (threadIdx.x == 0) {
    choice = choose(a, epoch ? (unsigned)*epoch : 0, (u64)index, h, w);
    if (labels) classes[blockIdx.x] = labels[index];
  }
  __syncthreads();
  Choice ch = choice;
  const unsigned char *from = pixels + index * h * w * c;
  float *to = images + (long long)blockIdx.x * h * w * c;
  for (int i = threadIdx.x; i < h * w; i += blockDim.x) {
    int y = i / w, x = i % w;
    int sy = y + ch.top - a.padding, sx = (ch.flip ? w - 1 - x : x) + ch.left - a.padding;
    if (a.reflect) sy = reflected(sy, h), sx = reflected(sx, w);
    int y0 = ch.y - a.cutout / 2, x0 = ch.x - a.cutout / 2;
    bool cut = a.cutout > 0 && y >= y0 && y < y0 + a.cutout && x >= x0 && x < x0 + a.cutout;
    bool inside = sy >= 0 && sy < h && sx >= 0 && sx < w;
    for (int k = 0; k < c; k++) {
      int value = cut ? a.fill[k] : inside ? from[(sy * w + sx) * c + k] : 0;
      to[i * c + k] = table[value * c + k];
    }
  }
}
