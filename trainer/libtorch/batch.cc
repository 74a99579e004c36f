// Batches that a GPU makes for itself: cuda/batch.cu.
#include "batch.h"

#include "device.h"
#include "guard.h"

namespace {

struct Augmentation {  // as in cuda/batch.cu
  unsigned long long seed;
  int padding, reflect, flip, cutout;
  unsigned char fill[4];
};

}  // namespace

// Pinned memory that PyTorch's allocator does not give away before the copy is made: nothing waits for it.
static at::Tensor upload(const void *from, at::IntArrayRef sizes, at::ScalarType type) {
  at::Tensor host = at::from_blob(const_cast<void *>(from), sizes, at::TensorOptions(type));
  if (gpu().is_cpu()) return host.clone();
  return host.pin_memory().to(gpu(), /*non_blocking=*/true);
}

at::Tensor device_images(const uint8_t *pixels, int64_t n, int64_t h, int64_t w, int64_t c, const std::vector<float> &table) {
  at::Tensor images = at::empty({n, c, h, w}, at::TensorOptions(at::kFloat).device(gpu()), at::MemoryFormat::ChannelsLast);
  at::Tensor bytes = upload(pixels, {n, h, w, c}, at::kByte), values = upload(table.data(), {int64_t(table.size())}, at::kFloat);
  at::Tensor order = at::arange(n, at::TensorOptions(at::kLong).device(gpu())), zero = at::zeros({1}, order.options());
  launch("batch_images", {n}, data_of(bytes), data_of(order), data_of(order), data_of(zero), data_of(zero), Augmentation{}, data_of(values),
         int(h), int(w), int(c), data_of(images), data_of(at::empty_like(order)));
  return images;
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
    auto options = ref(s->table).options();
    at::Tensor out = at::empty({s->n, s->c, s->h, s->w}, options, at::MemoryFormat::ChannelsLast);
    at::Tensor classes = at::empty({s->n}, options.dtype(at::kLong));
    launch("batch_images", {s->n}, data_of(ref(s->pixels)), data_of(ref(s->labels)), data_of(ref(s->order)), data_of(ref(clock)),
           data_of(ref(s->epoch)), a, data_of(ref(s->table)), int(s->h), int(s->w), int(s->c), data_of(out), data_of(classes));
    *images = handle(out), *labels = handle(classes);
  });
}
