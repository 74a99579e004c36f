// Threads, gradient mode, autocast: all of it belongs to the calling thread.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include "guard.h"

void lt_free_message(lt_message m) { free(const_cast<char *>(m)); }

lt_message lt_set_num_threads(int n) {
  return guard([&] { at::set_num_threads(n); });
}

bool lt_set_grad_enabled(bool enabled) {
  bool was = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(enabled);
  return was;
}

// torch.autocast(device, dtype=torch.bfloat16). libtorch 2.4 gave all devices one API.
static void set_autocast(lt_device device, bool enabled) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  auto type = device_of(device).type();
  at::autocast::set_autocast_dtype(type, at::kBFloat16);
  at::autocast::set_autocast_enabled(type, enabled);
#else
  if (device == LT_CUDA) {
    at::autocast::set_autocast_gpu_dtype(at::kBFloat16);
    at::autocast::set_enabled(enabled);
  } else {
    at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
    at::autocast::set_cpu_enabled(enabled);
  }
#endif
}

lt_message lt_autocast_begin(lt_device device) {
  return guard([&] {
    set_autocast(device, true);
    at::autocast::increment_nesting();
  });
}

void lt_autocast_end(lt_device device) {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();  // the BF16 copies of the weights
  set_autocast(device, false);
}

lt_message lt_version(void) { return message(TORCH_VERSION); }

lt_message lt_config(void) { return message(at::show_config()); }
