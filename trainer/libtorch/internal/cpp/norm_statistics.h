// What the kernels of batch normalisation on a CPU share: norm.cc, and quant_norm.cc with fake quantisation.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <functional>
#include <stdexcept>
#include <vector>

#include "libtorch.h"
#include "norm_device.h"
#include "simd.h"

// The number at an index, or NULL where there is no tensor.
template <class E>
E *from(const at::Tensor &x, int64_t index) { return x.defined() ? static_cast<E *>(x.data_ptr()) + index : nullptr; }

// Calls f with the loops for the type of x.
template <class F>
void dispatch(const at::Tensor &x, F f) {
  if (x.scalar_type() == at::kBFloat16)
    f(simd().norm_bf16, bf16{});
  else
    f(simd().norm_float, float{});
}

// A batch as rows of channels, in blocks that fit a core's first cache.
struct Rows {
  int64_t c, rows, block, blocks;
  explicit Rows(const at::Tensor &x) : c(x.size(1)), rows(x.numel() / c) {
    block = std::max<int64_t>(16, 8192 / c);
    blocks = (rows + block - 1) / block;
  }
  // Calls f(block, first number, rows in it), in parallel.
  template <class F>
  void each(F f) const {
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) f(b, b * block * c, std::min(block, rows - b * block));
    });
  }
};

// Rows of what is known of each channel of a batch; in float32.
enum { kMean, kScale, kShift, kInvStd, kStatistics };

// What a unit of a channel's numbers stands for; running statistics are in real numbers. NULL: the numbers are real.
inline double unit_of(const double *units, int64_t channel) { return units ? units[channel] : 1; }

inline Norm norm_of(const at::Tensor &statistics) {
  float *s = statistics.data_ptr<float>();
  int64_t c = statistics.size(1);
  return {s + kMean * c, s + kScale * c, s + kShift * c};
}

// Statistics from mean and variance, in real numbers: functions of the channel.
template <class Mean, class Variance>
at::Tensor statistics_of(const BatchNorm &n, const double *units, Mean mean, Variance variance) {
  int64_t c = n.weight.numel();
  at::Tensor statistics = at::empty({kStatistics, c}, at::kFloat);
  float *s = statistics.data_ptr<float>();
  const float *weight = n.weight.data_ptr<float>(), *bias = n.bias.data_ptr<float>();
  for (int64_t i = 0; i < c; i++) {
    double unit = unit_of(units, i), m = mean(i) / unit;
    double invstd = unit / std::sqrt(variance(i) + n.eps), scale = weight[i] * invstd;
    s[kMean * c + i] = m, s[kInvStd * c + i] = invstd;
    s[kScale * c + i] = scale, s[kShift * c + i] = bias[i] - m * scale;
  }
  return statistics;
}

inline at::Tensor running_statistics(const BatchNorm &n, const at::Tensor &x, const double *units = nullptr) {
  if (device_can_normalise(x)) return device_running_statistics(n);
  const float *mean = n.running_mean.data_ptr<float>(), *variance = n.running_var.data_ptr<float>();
  return statistics_of(n, units, [&](int64_t i) { return double(mean[i]); }, [&](int64_t i) { return double(variance[i]); });
}

// Replaces numbers by their sums over the processes of a group.
inline void all_reduce(uintptr_t group, std::vector<double> &numbers) {
  lt_message error = lt_all_reduce(group, numbers.data(), numbers.size());
  if (!error) return;
  std::string text(error);
  lt_free_message(error);
  throw std::runtime_error(text);
}

// Joins means, and squares of the distances from them, of so many rows with those of the other processes; returns the
// rows of all. What is summed is relative to the running mean, which all of them have, so that little cancels.
inline double join(const BatchNorm &n, double rows, std::vector<double> &mean, std::vector<double> &squares) {
  size_t c = mean.size();
  const float *origin = n.running_mean.data_ptr<float>();
  std::vector<double> sums(2 * c + 1);
  for (size_t i = 0; i < c; i++) {
    double d = mean[i] - origin[i];
    sums[i] = rows * d;
    sums[c + i] = squares[i] + rows * d * d;
  }
  sums[2 * c] = rows;
  all_reduce(n.group, sums);
  rows = sums[2 * c];
  for (size_t i = 0; i < c; i++) {
    double d = sums[i] / rows, square = sums[c + i] - rows * d * d;
    mean[i] = origin[i] + d;
    squares[i] = square < 0 ? 0 : square;  // NaN stays
  }
  return rows;
}

// Those of the batch, of so many rows, which move the running ones. If visit is given, it sees each block of rows while
// it is in the cache.
inline at::Tensor batch_statistics(const BatchNorm &n, const at::Tensor &x, double *rows_of_all, const double *units = nullptr,
                                   const std::function<void(int64_t block, int64_t first, int64_t rows)> &visit = nullptr) {
  if (device_can_normalise(x)) {
    TORCH_CHECK(!n.group, "images on a GPU cannot be normalised over several processes");
    return device_batch_statistics(n, x);
  }
  Rows r(x);
  at::Tensor parts = at::empty({r.blocks, 2, r.c}, at::kFloat);
  float *p = parts.data_ptr<float>();
  dispatch(x, [&](auto &k, auto e) {
    typedef decltype(e) E;
    r.each([&](int64_t b, int64_t first, int64_t rows) {
      float *mean = p + 2 * b * r.c;
      k.moments(from<E>(x, first), rows, r.c, mean, mean + r.c);
      if (visit) visit(b, first, rows);
    });
  });
  std::vector<double> mean(r.c), squares(r.c);
  for (int64_t b = 0; b < r.blocks; b++, p += 2 * r.c) {
    double before = b * r.block, rows = std::min(r.block, r.rows - b * r.block), share = rows / (before + rows);
    for (int64_t i = 0; i < r.c; i++) {
      double d = p[i] - mean[i];
      mean[i] += d * share;
      squares[i] += p[r.c + i] + d * d * before * share;
    }
  }
  for (int64_t i = 0; units && i < r.c; i++) mean[i] *= units[i], squares[i] *= units[i] * units[i];
  double rows = n.group ? join(n, r.rows, mean, squares) : r.rows;
  *rows_of_all = rows;
  float *running_mean = n.running_mean.data_ptr<float>(), *running_var = n.running_var.data_ptr<float>();
  for (int64_t i = 0; i < r.c; i++) {
    running_mean[i] = n.momentum * mean[i] + (1 - n.momentum) * running_mean[i];
    running_var[i] = n.momentum * squares[i] / (rows - 1) + (1 - n.momentum) * running_var[i];
  }
  return statistics_of(n, units, [&](int64_t i) { return mean[i]; }, [&](int64_t i) { return squares[i] / rows; });
}
