// Batches that a GPU makes for itself: cuda/batch.cu.
#include "batch.h"

#include "device.h"
#include "guard.h"
#include "kernel_args.h"

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

// Pinned memory that PyTorch's allocator does not give away before the copy is made: nothing waits for it.
static at::Tensor upload(const void *from, at::IntArrayRef sizes, at::ScalarType type) {
  at::Tensor host = at::from_blob(const_cast<void *>(from), sizes, at::TensorOptions(type));
  if (gpu().is_cpu()) return host.clone();
  return host.pin_memory().to(gpu(), /*non_blocking=*/true);
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
