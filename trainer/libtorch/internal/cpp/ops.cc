// The operations of the network. In-place variants where autograd does not need the input again.
#include <ATen/Parallel.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/roll.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <vector>

#include "batch.h"
#include "conv.h"
#include "guard.h"
#include "norm.h"

std::vector<float> normalisation_table(int64_t channels, const float *mean, const float *std) {
  std::vector<float> table(256 * channels);
  for (int64_t v = 0; v < 256; v++)
    for (int64_t c = 0; c < channels; c++) table[v * channels + c] = (static_cast<float>(v) / 255.f - mean[c]) / std[c];
  return table;
}

lt_message lt_images(const uint8_t *pixels, int64_t n, int64_t h, int64_t w, int64_t c, const float *mean,
                     const float *std, lt_device device, lt_tensor *out) {
  return guard([&] {
    std::vector<float> table = normalisation_table(c, mean, std);
    if (device == LT_CUDA && has_kernels(at::empty({0}, device_of(device)))) {
      *out = handle(device_images(pixels, n, h, w, c, table));
      return;
    }
    at::Tensor images = at::empty({n, c, h, w}, at::kFloat, at::MemoryFormat::ChannelsLast);
    float *to = images.data_ptr<float>();
    at::parallel_for(0, n * h * w, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * c; i < end * c; i += c)
        for (int64_t k = 0; k < c; k++) to[i + k] = table[pixels[i + k] * c + k];
    });
    *out = handle(images.to(device_of(device)));
  });
}

lt_message lt_labels(const int64_t *labels, int64_t n, lt_device device, lt_tensor *out) {
  return guard([&] {
    *out = handle(device == LT_CUDA ? upload(labels, {n}, at::kLong) : at::from_blob(const_cast<int64_t *>(labels), {n}, at::kLong).clone());
  });
}

lt_message lt_conv2d(lt_tensor x, lt_tensor weight, int64_t stride, int64_t padding, lt_tensor *out) {
  return guard([&] { *out = handle(conv2d(ref(x), ref(weight), stride, padding)); });
}

// In place where the derivative follows from the result.
static at::Tensor activate(at::Tensor x, lt_activation_kind kind) {
  switch (kind) {
    case LT_IDENTITY:
      return x;
    case LT_RELU:
      return x.relu_();
    case LT_LEAKY_RELU:
      return at::leaky_relu_(x);
    case LT_SILU:
      return at::silu(x);
    case LT_GELU:
      return at::gelu(x);
    case LT_HARDSWISH:
      return at::hardswish(x);
  }
  TORCH_CHECK(false, "no such activation");
}

lt_message lt_batch_norm(lt_tensor x, const lt_tensor weights[4], bool training, double momentum, double eps,
                         uintptr_t group, lt_tensor add, lt_activation_kind kind, lt_tensor *out) {
  return guard([&] {
    BatchNorm n = {ref(weights[0]), ref(weights[1]), ref(weights[2]), ref(weights[3]), training, momentum, eps, group};
    bool relu = kind == LT_RELU;
    at::Tensor y = batch_norm(n, ref(x), add ? ref(add) : at::Tensor(), relu);
    *out = handle(relu ? y : activate(y, kind));
  });
}

// In float32, as autocast has it on CUDA; on a CPU libtorch 1.13 has no group_norm of a bfloat16 input with float weights.
lt_message lt_group_norm(lt_tensor x, lt_tensor weight, lt_tensor bias, int64_t groups, double eps, lt_tensor *out) {
  return guard([&] {
    at::Tensor input = ref(x).to(ref(weight).scalar_type());
    *out = handle(at::group_norm(input, groups, ref(weight), ref(bias), eps));
  });
}

lt_message lt_activation(lt_tensor x, lt_activation_kind kind, lt_tensor *out) {
  return guard([&] { *out = handle(activate(ref(x), kind)); });
}

lt_message lt_add_activation(lt_tensor x, lt_tensor y, lt_activation_kind kind, lt_tensor *out) {
  return guard([&] { *out = handle(activate(ref(x).add_(ref(y)), kind)); });
}

lt_message lt_max_pool(lt_tensor x, lt_tensor *out) {
  return guard([&] { *out = handle(at::max_pool2d(ref(x), 3, 2, 1)); });
}

lt_message lt_global_avg_pool(lt_tensor x, lt_tensor *out) {
  return guard([&] { *out = handle(at::adaptive_avg_pool2d(ref(x), {1, 1}).flatten(1)); });
}

lt_message lt_linear(lt_tensor x, lt_tensor weight, lt_tensor bias, lt_tensor *out) {
  return guard([&] { *out = handle(at::linear(ref(x), ref(weight), ref(bias))); });
}

// In float32, as autocast has it, also where logits of 16 bits come from an autocast that has ended.
static at::Tensor cross_entropy(const at::Tensor &logits, const at::Tensor &labels, int64_t reduction, double label_smoothing,
                                const c10::optional<at::Tensor> &weights = {}) {
  bool half = logits.scalar_type() == at::kBFloat16 || logits.scalar_type() == at::kHalf;
  return at::cross_entropy_loss(half ? logits.to(at::kFloat) : logits, labels, weights, reduction, -100, label_smoothing);
}

// A number of the device as a factor of float32 tensors.
static at::Tensor factor(lt_tensor number) { return ref(number).detach().squeeze().to(at::kFloat); }

lt_message lt_cross_entropy(lt_tensor logits, lt_tensor labels, lt_tensor weights, double label_smoothing, double total,
                            lt_tensor device_total, lt_tensor *out) {
  return guard([&] {
    c10::optional<at::Tensor> w;
    if (weights) w = ref(weights);
    bool mean = total == 0 && !device_total;
    at::Tensor loss = cross_entropy(ref(logits), ref(labels), mean ? at::Reduction::Mean : at::Reduction::Sum, label_smoothing, w);
    *out = handle(mean ? loss : device_total ? loss.div(factor(device_total)) : loss.div(total));
  });
}

lt_message lt_lerp(lt_tensor a, lt_tensor b, double share, lt_tensor device_share, lt_tensor *out) {
  return guard([&] {
    if (device_share)
      *out = handle(ref(a).mul(factor(device_share)).add(ref(b).mul(ref(device_share).squeeze().neg().add(1).to(at::kFloat))));
    else
      *out = handle(ref(a).mul(share).add(ref(b).mul(1 - share)));
  });
}

lt_message lt_narrow(lt_tensor a, int64_t first, int64_t n, lt_tensor *out) {
  return guard([&] { *out = handle(ref(a).narrow(0, first, n)); });
}

lt_message lt_element(lt_tensor a, int64_t i, lt_tensor *out) {
  return guard([&] { *out = handle(ref(a).view(-1).narrow(0, i, 1)); });
}

lt_message lt_roll(lt_tensor a, lt_tensor *out) {
  return guard([&] { *out = handle(at::roll(ref(a), 1, 0).contiguous(ref(a).suggest_memory_format())); });
}

lt_message lt_paste(lt_tensor images, lt_tensor others, const int64_t box[4], lt_tensor *out) {
  return guard([&] {
    at::Tensor y = ref(images).clone();
    auto part = [&](const at::Tensor &x) { return x.slice(2, box[0], box[2]).slice(3, box[1], box[3]); };
    part(y).copy_(part(ref(others)));
    *out = handle(y);
  });
}

lt_message lt_device_mix(lt_tensor images, lt_tensor others, lt_tensor numbers, lt_tensor *out) {
  return guard([&] {
    const at::Tensor &x = ref(images), &y = ref(others);
    at::Tensor n = ref(numbers).view(-1);
    auto inside = [&](int64_t size, int64_t from, int64_t to) {
      at::Tensor i = at::arange(size, n.options());
      return i.ge(n.select(0, from)).logical_and_(i.lt(n.select(0, to)));
    };
    at::Tensor share = n.select(0, 0), rest = share.neg().add(1);
    at::Tensor mixed = y.mul(rest.to(at::kFloat)).add_(x.mul(share.to(at::kFloat)));
    at::Tensor box = inside(x.size(2), 1, 3).unsqueeze(1).logical_and(inside(x.size(3), 2, 4));
    *out = handle(at::where(box, y, mixed).contiguous(at::MemoryFormat::ChannelsLast));
  });
}

lt_message lt_cross_entropy_sum(lt_tensor logits, lt_tensor labels, lt_tensor *out) {
  return guard([&] { *out = handle(cross_entropy(ref(logits), ref(labels), at::Reduction::None, 0).sum(at::kDouble)); });
}

lt_message lt_float(lt_tensor x, lt_tensor *out) {
  return guard([&] { *out = handle(ref(x).to(at::kFloat)); });
}

// at::aminmax copies what is not contiguous in order: channels_last is taken as it lies.
lt_message lt_aminmax(lt_tensor x, lt_tensor *out) {
  return guard([&] {
    at::Tensor values = ref(x).detach();
    if (values.dim() == 4) values = values.permute({0, 2, 3, 1});
    auto [low, high] = at::aminmax(values);
    *out = handle(at::stack({low, high}));
  });
}

lt_message lt_count_correct(lt_tensor logits, lt_tensor labels, lt_tensor *out) {
  return guard([&] { *out = handle(ref(logits).argmax(1).eq(ref(labels)).sum()); });
}

lt_message lt_count_agreeing(lt_tensor logits, lt_tensor others, lt_tensor *out) {
  return guard([&] { *out = handle(ref(logits).argmax(1).eq(ref(others).argmax(1)).sum()); });
}

lt_message lt_count_top(lt_tensor logits, lt_tensor labels, int64_t k, lt_tensor *out) {
  return guard([&] {
    at::Tensor top = std::get<1>(ref(logits).topk(k, 1));
    *out = handle(top.eq(ref(labels).unsqueeze(1)).sum());
  });
}

lt_message lt_count_confusion(lt_tensor confusion, lt_tensor logits, lt_tensor labels) {
  return guard([&] {
    at::Tensor cells = ref(labels).mul(ref(confusion).size(1)).add_(ref(logits).argmax(1));
    ref(confusion).view(-1).index_add_(0, cells, at::ones_like(cells));
  });
}

lt_message lt_record_top1(lt_tensor into, int64_t first, lt_tensor logits) {
  return guard([&] {
    auto [probability, output] = at::softmax(ref(logits).to(at::kDouble), 1).max(1);
    at::Tensor rows = ref(into).narrow(0, first, output.size(0));
    rows.select(1, 0).copy_(output);
    rows.select(1, 1).copy_(probability);
  });
}

lt_message lt_mirror(lt_tensor x, lt_tensor *out) {
  return guard([&] { *out = handle(ref(x).flip({3}).contiguous(ref(x).suggest_memory_format())); });
}

lt_message lt_softmax(lt_tensor logits, lt_tensor *out) {
  return guard([&] { *out = handle(at::softmax(ref(logits).to(at::kDouble), 1)); });
}

lt_message lt_backward(lt_tensor loss) {
  return guard([&] { ref(loss).backward(); });
}

lt_message lt_add_to(lt_tensor total, lt_tensor x) {
  return guard([&] { ref(total).add_(ref(x).detach()); });
}

lt_message lt_index_copy(lt_tensor a, lt_tensor index, lt_tensor value) {
  return guard([&] { ref(a).index_copy_(0, ref(index), ref(value).detach().unsqueeze(0)); });
}

lt_message lt_index_select(lt_tensor a, lt_tensor index, lt_tensor *out) {
  return guard([&] { *out = handle(ref(a).index_select(0, ref(index))); });
}

lt_message lt_increment(lt_tensor a) {
  return guard([&] { ref(a).add_(1); });
}
