// The steps of norm.cc on a GPU; cuda/norm.cu computes.
#include "norm_device.h"

#include "device.h"

namespace {

constexpr int64_t kEight = 8, kThreads = 256;

struct Rows {
  int c;
  long long rows;
  explicit Rows(const at::Tensor &x) : c(x.size(1)), rows(x.numel() / c) {}
  // For kernels that sum over rows, and for those that do not.
  Grid sums() const { return {std::min<int64_t>(busy_blocks(), (rows * c / kEight + kThreads - 1) / kThreads)}; }
  Grid each() const { return {std::min<int64_t>(8 * busy_blocks(), (rows * c / kEight + kThreads - 1) / kThreads)}; }
};

at::Tensor floats(const at::Tensor &like, at::IntArrayRef sizes) { return at::empty(sizes, like.options().dtype(at::kFloat)); }

// Counts the blocks of a kernel that are done; kernels leave it at 0. All run on one stream.
unsigned *ticket(const at::Tensor &x) {
  static at::Tensor &t = *new at::Tensor(at::zeros({1}, x.options().dtype(at::kInt)));  // outlives the driver
  return data_of<unsigned>(t);
}

float *f(const at::Tensor &t) { return data_of<float>(t); }

}  // namespace

bool device_can_normalise(const at::Tensor &x) {
  int64_t c = x.size(1);
  return has_kernels(x) && c % kEight == 0 && c <= kEight * kThreads;
}

at::Tensor device_running_statistics(const BatchNorm &n) {
  int c = n.weight.numel();
  at::Tensor statistics = floats(n.weight, {4, c});
  launch("norm_running", {(c + kThreads - 1) / kThreads}, c, (const float *)f(n.weight), (const float *)f(n.bias),
         (const float *)f(n.running_mean), (const float *)f(n.running_var), float(n.eps), f(statistics));
  return statistics;
}

at::Tensor device_batch_statistics(const BatchNorm &n, const at::Tensor &x) {
  Rows r(x);
  Grid grid = r.sums();
  at::Tensor statistics = floats(x, {4, r.c}), parts = floats(x, {grid.blocks, 2, r.c});
  launch(kernel_for("norm_moments", x), grid, data_of(x), r.rows, r.c, f(parts), ticket(x), f(n.weight), f(n.bias), f(n.running_mean),
         f(n.running_var), float(n.momentum), float(n.eps), f(statistics));
  return statistics;
}

at::Tensor device_normalise(const at::Tensor &x, const at::Tensor &add, const at::Tensor &statistics, bool relu) {
  Rows r(x);
  at::Tensor y = at::empty_like(x);
  launch(kernel_for("norm_forward", x), r.each(), data_of(x), data_of(add), r.rows, r.c, f(statistics), relu, data_of(y));
  return y;
}

NormGradients device_gradients(const at::Tensor &dy, const at::Tensor &x, const at::Tensor &y, const at::Tensor &statistics, bool relu, bool add) {
  Rows r(x);
  Grid grid = r.sums();
  at::Tensor passed = relu && add ? at::empty_like(dy) : at::Tensor();
  at::Tensor parts = floats(x, {grid.blocks, 2, r.c}), slopes = floats(x, {2, r.c});
  NormGradients g = {at::empty_like(x), floats(x, {r.c}), floats(x, {r.c}), at::Tensor()};
  launch(kernel_for("norm_sums", x), grid, data_of(dy), data_of(x), data_of(y), r.rows, r.c, f(statistics), relu, f(parts), ticket(x),
         data_of(passed), f(g.dweight), f(g.dbias), f(slopes));
  at::Tensor d = passed.defined() ? passed : dy;
  launch(kernel_for("norm_backward", x), r.each(), data_of(d), data_of(x), r.rows, r.c, f(statistics), relu && !add, f(slopes), data_of(g.dx));
  if (add) g.dadd = d;
  return g;
}
