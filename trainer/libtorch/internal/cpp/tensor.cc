// Life, shape and content of tensors; threads, gradient mode and autocast, which belong to the calling thread.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>  // includes all of ATen/ops: in no other file, therefore
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include "amx.h"
#include "context.h"
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

lt_message lt_requires_grad(lt_tensor a, bool yes) {
  return guard([&] { ref(a).set_requires_grad(yes); });
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
    at::Tensor t = ref(a).detach().contiguous().to(at::kCPU);  // in this order: a GPU lays them out faster
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

// ---- The state of the calling thread ----

void lt_free_message(lt_message m) { free(const_cast<char *>(m)); }

lt_message lt_set_num_threads(int n) {
  return guard([&] {
    // Only where it changes something: each call makes XNNPACK's threads anew, which wait actively at first.
    if (at::get_num_threads() != n) at::set_num_threads(n);
  });
}

bool lt_set_grad_enabled(bool enabled) {
  bool was = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(enabled);
  return was;
}

// torch.use_deterministic_algorithms, and what PyTorch's notes on reproducibility say about cuDNN. It is global.
lt_message lt_set_deterministic(bool on) {
  return guard([&] {
    at::globalContext().setDeterministicAlgorithms(on, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(on);
    if (on) at::globalContext().setBenchmarkCuDNN(false);
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 2)
    at::globalContext().setDeterministicFillUninitializedMemory(false);  // for those who read what they did not write; it costs a pass
#endif
  });
}

// cuDNN rounds the factors of float32 convolutions to 10 bits unless it is told not to. In autocast there are none in float32.
void lt_forbid_tf32(void) {
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
}

// torch.autocast(device, dtype). libtorch 2.4 gave all devices one API.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
static void set_autocast(lt_device device, at::ScalarType dtype, bool enabled) {
  auto type = device_of(device).type();
  at::autocast::set_autocast_dtype(type, dtype);
  at::autocast::set_autocast_enabled(type, enabled);
}
at::ScalarType cpu_autocast() {
  return at::autocast::is_autocast_enabled(at::kCPU) ? at::autocast::get_autocast_dtype(at::kCPU) : at::kFloat;
}
#else
static void set_autocast(lt_device device, at::ScalarType dtype, bool enabled) {
  if (device_of(device).is_cuda()) {
    at::autocast::set_autocast_gpu_dtype(dtype);
    at::autocast::set_enabled(enabled);
  } else {
    at::autocast::set_autocast_cpu_dtype(dtype);
    at::autocast::set_cpu_enabled(enabled);
  }
}
at::ScalarType cpu_autocast() { return at::autocast::is_cpu_enabled() ? at::autocast::get_autocast_cpu_dtype() : at::kFloat; }
#endif

lt_message lt_autocast_begin(lt_device device, int dtype) {
  return guard([&] {
    set_autocast(device, static_cast<at::ScalarType>(dtype), true);
    at::autocast::increment_nesting();
  });
}

void lt_autocast_end(lt_device device) {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();  // the 16-bit copies of the weights
  set_autocast(device, at::kBFloat16, false);
}

lt_message lt_version(void) { return message(TORCH_VERSION); }

lt_message lt_config(void) { return message(at::show_config()); }

bool lt_has_amx(void) { return amx(); }
