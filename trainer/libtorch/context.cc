// Threads, gradient mode, autocast: all of it belongs to the calling thread.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include "amx.h"
#include "guard.h"

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
  });
}

// torch.autocast(device, dtype). libtorch 2.4 gave all devices one API.
static void set_autocast(lt_device device, at::ScalarType dtype, bool enabled) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  auto type = device_of(device).type();
  at::autocast::set_autocast_dtype(type, dtype);
  at::autocast::set_autocast_enabled(type, enabled);
#else
  if (device_of(device).is_cuda()) {
    at::autocast::set_autocast_gpu_dtype(dtype);
    at::autocast::set_enabled(enabled);
  } else {
    at::autocast::set_autocast_cpu_dtype(dtype);
    at::autocast::set_cpu_enabled(enabled);
  }
#endif
}

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
