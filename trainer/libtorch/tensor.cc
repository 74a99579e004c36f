// Life, shape and content of tensors.
#include <c10/core/GradMode.h>

#include "guard.h"

void lt_delete(lt_tensor *handles, int64_t n) {
  for (int64_t i = 0; i < n; i++) delete static_cast<at::Tensor *>(handles[i]);
}

lt_message lt_full(const int64_t *sizes, int64_t dims, double value, int dtype, lt_device device, lt_tensor *out) {
  return guard([&] {
    auto options = at::TensorOptions(static_cast<at::ScalarType>(dtype)).device(device_of(device));
    *out = handle(at::full(at::IntArrayRef(sizes, dims), value, options));
  });
}

lt_message lt_zeros_like(lt_tensor a, int dtype, lt_tensor *out) {
  return guard([&] {
    at::Tensor t = ref(a).detach();
    *out = handle(at::zeros_like(t, dtype < 0 ? t.options() : t.options().dtype(static_cast<at::ScalarType>(dtype))));
  });
}

lt_message lt_requires_grad(lt_tensor a) {
  return guard([&] { ref(a).set_requires_grad(true); });
}

lt_message lt_all_finite(lt_tensor a, bool *out) {
  return guard([&] { *out = at::isfinite(ref(a).detach()).all().item<bool>(); });
}

lt_message lt_move(lt_tensor a, lt_device device, bool channels_last) {
  return guard([&] {
    auto format = channels_last && ref(a).dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    ref(a).set_data(ref(a).detach().to(device_of(device)).contiguous(format));
  });
}

lt_message lt_numel(lt_tensor a, int64_t *n, int64_t *element_size) {
  return guard([&] {
    *n = ref(a).numel();
    *element_size = ref(a).element_size();
  });
}

lt_message lt_read(lt_tensor a, void *to, int64_t bytes) {
  return guard([&] {
    at::Tensor t = ref(a).detach().to(at::kCPU).contiguous();
    TORCH_CHECK(bytes == static_cast<int64_t>(t.nbytes()), "tensor of ", t.nbytes(), " bytes, room for ", bytes);
    if (bytes > 0) std::memcpy(to, t.data_ptr(), bytes);
  });
}

lt_message lt_write(lt_tensor a, const void *from, int64_t bytes) {
  return guard([&] {
    at::Tensor t = ref(a).detach();
    TORCH_CHECK(bytes == static_cast<int64_t>(t.nbytes()), "tensor of ", t.nbytes(), " bytes, given ", bytes);
    if (bytes > 0) t.copy_(at::from_blob(const_cast<void *>(from), t.sizes(), t.options().device(at::kCPU)));
  });
}

lt_message lt_grad(lt_tensor a, lt_tensor *out) {
  return guard([&] {
    TORCH_CHECK(ref(a).grad().defined(), "no gradient yet");
    *out = handle(ref(a).grad());
  });
}
