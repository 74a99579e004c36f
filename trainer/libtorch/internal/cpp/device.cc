// What Go asks of a device, and what kernels of our own compute there: cuda/ of package device.
#include "device.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include "batch.h"
#include "guard.h"
#include "kernel_args.h"
#include "norm_device.h"

std::string kernel_for(const char *name, const at::Tensor &t) {
  switch (t.scalar_type()) {
    case at::kFloat:
      return std::string(name) + "_float";
    case at::kHalf:
      return std::string(name) + "_half";
    default:
      TORCH_CHECK(t.scalar_type() == at::kBFloat16, "no kernel for ", t.scalar_type());
      return std::string(name) + "_bfloat16";
  }
}

int lt_gpu_count(void) {
  try {
    return gpu_count();
  } catch (...) {
    return 0;
  }
}

bool lt_has_kernels(lt_tensor t) { return has_kernels(ref(t)); }

lt_message lt_begin_device(void) {
  return guard([] { begin_device(); });
}

lt_message lt_device_memory(int64_t *free, int64_t *total, int64_t *peak) {
  return guard([&] {
    DeviceMemory m = device_memory();
    *free = m.free, *total = m.total, *peak = m.peak;
  });
}

lt_message lt_graph_begin(lt_graph *out) {
  return guard([&] {
    std::unique_ptr<Graph> graph = new_graph();
    graph->begin();
    *out = graph.release();
  });
}

lt_message lt_graph_end(lt_graph g) {
  return guard([&] { static_cast<Graph *>(g)->end(); });
}

lt_message lt_graph_replay(lt_graph g) {
  return guard([&] { static_cast<Graph *>(g)->replay(); });
}

void lt_graph_delete(lt_graph g) { delete static_cast<Graph *>(g); }

// ---- Batches that a GPU makes for itself: cuda/batch.cu ----

namespace {

// Where a batch comes from: cuda/batch.cu. order, clock, epoch and labels need not be there.
struct Source {
  at::Tensor pixels, table, order, clock, epoch, labels;
  Augmentation augmentation;
};

at::Tensor batch_images(const Source &s, int64_t n, int64_t h, int64_t w, int64_t c, const at::Tensor &classes = {}) {
  at::Tensor images = at::empty({n, c, h, w}, s.table.options(), at::MemoryFormat::ChannelsLast);
  launch("batch_images", {n}, data_of(s.pixels), data_of(s.labels), data_of(s.order), data_of(s.clock), data_of(s.epoch), s.augmentation,
         data_of(s.table), int(h), int(w), int(c), data_of(images), data_of(classes));
  return images;
}

at::Tensor ref_if(lt_tensor t) { return t ? ref(t) : at::Tensor(); }

}  // namespace

// Through pinned memory, which PyTorch's allocator does not give away before the copy is made: nothing waits for it. Of much, a part at a
// time is pinned, because that memory stays pinned.
at::Tensor upload(const void *from, at::IntArrayRef sizes, at::ScalarType type) {
  constexpr int64_t most = 32 << 20;  // bytes
  at::Tensor host = at::from_blob(const_cast<void *>(from), sizes, at::TensorOptions(type));
  if (gpu().is_cpu()) return host.clone();
  if (int64_t(host.nbytes()) <= most) return host.pin_memory().to(gpu(), /*non_blocking=*/true);
  at::Tensor to = at::empty(sizes, host.options().device(gpu())), left = to.view(-1), parts = host.view(-1);
  int64_t part = most / host.element_size();
  for (int64_t i = 0; i < parts.numel(); i += part) {
    int64_t n = std::min(part, parts.numel() - i);
    left.narrow(0, i, n).copy_(parts.narrow(0, i, n).pin_memory(), /*non_blocking=*/true);
  }
  return to;
}

at::Tensor device_images(const uint8_t *pixels, int64_t n, int64_t h, int64_t w, int64_t c, const std::vector<float> &table) {
  Source s = {};
  s.pixels = upload(pixels, {n, h, w, c}, at::kByte), s.table = upload(table.data(), {int64_t(table.size())}, at::kFloat);
  return batch_images(s, n, h, w, c);
}

lt_message lt_upload(const void *from, int64_t n, int dtype, lt_tensor *out) {
  return guard([&] { *out = handle(upload(from, {n}, static_cast<at::ScalarType>(dtype))); });
}

lt_message lt_upload_to(lt_tensor to, const void *from, int64_t bytes) {
  return guard([&] {
    at::Tensor t = ref(to).detach();
    TORCH_CHECK(bytes == int64_t(t.nbytes()), "tensor of ", t.nbytes(), " bytes, given ", bytes);
    if (t.is_cpu())
      std::memcpy(t.data_ptr(), from, bytes);
    else
      t.copy_(upload(from, t.sizes(), t.scalar_type()));
  });
}

lt_message lt_pixel_table(int64_t channels, const float *mean, const float *std, lt_tensor *out) {
  return guard([&] {
    std::vector<float> table = normalisation_table(channels, mean, std);
    *out = handle(upload(table.data(), {int64_t(table.size())}, at::kFloat));
  });
}

lt_message lt_device_batch(const lt_device_batch_source *s, lt_tensor clock, lt_tensor *images, lt_tensor *labels) {
  return guard([&] {
    Augmentation a = {s->seed, s->padding, s->reflect, s->flip, s->cutout, {s->fill[0], s->fill[1], s->fill[2], 0}};
    Source source = {ref(s->pixels), ref(s->table), ref_if(s->order), ref(clock), ref_if(s->epoch), ref(s->labels), a};
    at::Tensor classes = at::empty({s->n}, source.labels.options());
    *images = handle(batch_images(source, s->n, s->h, s->w, s->c, classes)), *labels = handle(classes);
  });
}

// ---- The steps of norm.cc on a GPU: cuda/norm.cu ----

namespace {

constexpr int64_t kSlabs = 64;  // at most so many

struct Rows {
  int c;
  long long rows;
  int64_t slabs;
  explicit Rows(const at::Tensor &x) : c(x.size(1)), rows(x.numel() / c), slabs((c + kSlab - 1) / kSlab) {}
  // Blocks of which a thread has at least four rows, where there are so many, and which keep the device busy.
  Grid grid(int64_t most) const {
    int64_t at_once = kThreads / (std::min<int64_t>(c, kSlab) / kEight);  // rows that a block works on at a time
    int64_t blocks = (rows + 4 * at_once - 1) / (4 * at_once);
    return {std::max<int64_t>(1, std::min(blocks, most / slabs)), slabs};
  }
  // For kernels that sum over rows, whose last block joins the parts of the others, and for those that do not.
  Grid sums() const { return grid(std::min<int64_t>(busy_blocks(), 256 * slabs)); }
  Grid each() const { return grid(8 * busy_blocks()); }
};

at::Tensor floats(const at::Tensor &like, at::IntArrayRef sizes) { return at::empty(sizes, like.options().dtype(at::kFloat)); }

// Count the blocks of a kernel that are done, for each slab; kernels leave them at 0. All run on one stream.
unsigned *tickets(const at::Tensor &x) {
  static at::Tensor &t = *new at::Tensor(at::zeros({kSlabs}, x.options().dtype(at::kInt)));  // outlives the driver
  return data_of<unsigned>(t);
}

// What join_blocks of cuda/norm.cu needs.
at::Tensor parts(const at::Tensor &x, const Grid &grid) { return floats(x, {grid.rows, grid.blocks, 2, kSlab}); }

float *f(const at::Tensor &t) { return data_of<float>(t); }

}  // namespace

bool device_can_normalise(const at::Tensor &x) {
  int64_t c = x.size(1);
  return has_kernels(x) && c % kEight == 0 && c <= kSlab * kSlabs;
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
  at::Tensor statistics = floats(x, {4, r.c}), sums = parts(x, grid);
  launch(kernel_for("norm_moments", x), grid, data_of(x), r.rows, r.c, f(sums), tickets(x), f(n.weight), f(n.bias), f(n.running_mean),
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
  at::Tensor sums = parts(x, grid), slopes = floats(x, {2, r.c});
  NormGradients g = {at::empty_like(x), floats(x, {r.c}), floats(x, {r.c}), at::Tensor()};
  launch(kernel_for("norm_sums", x), grid, data_of(dy), data_of(x), data_of(y), r.rows, r.c, f(statistics), relu, f(sums), tickets(x),
         data_of(passed), f(g.dweight), f(g.dbias), f(slopes));
  at::Tensor d = passed.defined() ? passed : dy;
  launch(kernel_for("norm_backward", x), r.each(), data_of(d), data_of(x), r.rows, r.c, f(statistics), relu && !add, f(slopes), data_of(g.dx));
  if (add) g.dadd = d;
  return g;
}

// ---- AdamW and SGD: cuda/optimizer.cu. What changes from step to step is on the device, so that a graph of a step can be replayed ----

namespace {

// Whether the numbers of a and b, of the same shape, lie in the same order. A dimension of one element may have any stride.
bool same_order(const at::Tensor &a, const at::Tensor &b) {
  for (int64_t d = 0; d < a.dim(); d++)
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  return true;
}

// The gradient in the order of the parameter.
at::Tensor in_order(const at::Tensor &grad, const at::Tensor &param) {
  return same_order(grad, param) && grad.scalar_type() == at::kFloat ? grad : at::empty_like(param).copy_(grad);
}

void check_dense(const at::Tensor &t) {
  TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_non_overlapping_and_dense(), "parameters must be dense float32");
}

at::Tensor begin(lt_tensor rate, lt_tensor found_inf, double beta2, lt_tensor steps) {
  at::Tensor now = at::empty({int64_t(sizeof(OptimizerStep) / sizeof(float))}, ref(rate).options().dtype(at::kFloat));
  launch("optimizer_begin", {1, 1, 1}, data_of<double>(ref(rate)), found_inf ? data_of<float>(ref(found_inf)) : nullptr, beta2,
         data_of<long long>(ref(steps)), data_of<float>(now));
  return now;
}

// Runs a kernel of cuda/optimizer.cu, which takes them and args, on parameters.
template <class... Args>
void launch_each(const char *name, const std::vector<Param> &params, Args... args) {
  Params group = {};
  int64_t blocks = 0;
  auto flush = [&] {
    if (group.n > 0) launch(name, Grid{blocks}, group, args...);
    group.n = 0, blocks = 0;
  };
  for (Param p : params) {
    if (p.n == 0) continue;
    p.block = blocks, blocks += (p.n + kChunk - 1) / kChunk;
    group.list[group.n++] = p;
    if (group.n == kParams) flush();
  }
  flush();
}

// Those that have gradients, which they lose to grads.
std::vector<Param> take_grads(lt_tensor *params, lt_tensor *first, lt_tensor *second, const lt_param_options *options, int64_t n,
                              std::vector<at::Tensor> &grads) {
  std::vector<Param> all;
  for (int64_t i = 0; i < n; i++) {
    at::Tensor param = ref(params[i]).detach(), grad = ref(params[i]).grad();
    if (!grad.defined()) continue;
    check_dense(param);
    grads.push_back(in_order(grad, param));
    all.push_back({data_of<float>(param), data_of<float>(grads.back()), first ? data_of<float>(ref(first[i])) : nullptr,
                   second ? data_of<float>(ref(second[i])) : nullptr, param.numel(), options[i].weight_decay,
                   float(options[i].lr_multiplier), 0});
    ref(params[i]).mutable_grad().reset();
  }
  return all;
}

}  // namespace

lt_message lt_device_adamw(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, const lt_param_options *options, int64_t n,
                           lt_tensor rate, double beta2, double eps, lt_tensor found_inf, lt_tensor steps) {
  return guard([&] {
    std::vector<at::Tensor> grads;
    at::Tensor now = begin(rate, found_inf, beta2, steps);
    launch_each("optimizer_adamw", take_grads(params, exp_avgs, exp_avg_sqs, options, n, grads), data_of<float>(now), float(eps));
  });
}

lt_message lt_device_sgd(lt_tensor *params, lt_tensor *buffers, const lt_param_options *options, int64_t n, lt_tensor rate, double dampening,
                         bool nesterov, lt_tensor found_inf, lt_tensor steps) {
  return guard([&] {
    std::vector<at::Tensor> grads;
    at::Tensor now = begin(rate, found_inf, 0, steps);
    launch_each("optimizer_sgd", take_grads(params, buffers, nullptr, options, n, grads), data_of<float>(now), float(1 - dampening),
                nesterov);
  });
}

void device_clip(const std::vector<at::Tensor> &grads, const at::Tensor &total_norm, double max_norm) {
  std::vector<Param> all;
  for (const at::Tensor &g : grads) {
    check_dense(g);
    all.push_back({data_of<float>(g), nullptr, nullptr, nullptr, g.numel(), 0, 1, 0});
  }
  launch_each("gradients_clip", all, (const float *)data_of<float>(total_norm), float(max_norm));
}

void device_average(const std::vector<at::Tensor> &averages, const std::vector<at::Tensor> &weights, const at::Tensor &rate) {
  std::vector<Param> all;
  for (size_t i = 0; i < averages.size(); i++) {
    check_dense(averages[i]);
    TORCH_CHECK(same_order(averages[i], weights[i]) && weights[i].scalar_type() == at::kFloat, "weights unlike their average");
    all.push_back({data_of<float>(averages[i]), data_of<float>(weights[i]), nullptr, nullptr, averages[i].numel(), 0, 1, 0});
  }
  launch_each("weights_average", all, (const double *)data_of<double>(rate));
}
