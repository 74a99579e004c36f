// What Gloo and NCCL have in common here: messages, the store, and the buffer in which a step travels.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/zeros.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "collective.h"

namespace {

at::Tensor &ref(gl_tensor t) { return *static_cast<at::Tensor *>(t); }

// The first line of an error; what follows is the backtrace.
gl_message message(const std::string &s) { return strdup(s.substr(0, s.find('\n')).c_str()); }

template <class F>
gl_message guard(F f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const c10::Error &e) {
    return message(e.what_without_backtrace());
  } catch (const std::exception &e) {
    return message(e.what());
  } catch (...) {
    return message("unknown C++ exception");
  }
}

// answered throws what Go answered, if it is an error.
void answered(gl_message m) {
  if (m == nullptr) return;
  std::string text(m);
  free(m);
  throw std::runtime_error(text);
}

void store_set(uintptr_t store, const std::string &key, const std::vector<uint8_t> &value) {
  answered(gl_store_set(store, const_cast<char *>(key.c_str()), const_cast<uint8_t *>(value.data()), value.size()));
}

// It waits until another process has set the key.
std::vector<uint8_t> store_get(uintptr_t store, const std::string &key) {
  void *value = nullptr;
  int64_t n = 0;
  answered(gl_store_get(store, const_cast<char *>(key.c_str()), &value, &n));
  auto *bytes = static_cast<uint8_t *>(value);
  std::vector<uint8_t> result(bytes, bytes + n);
  free(value);
  return result;
}

// What a step says beside gradients and statistics.
enum Head { LOSS, STOP };

// Each part of the buffer begins at a multiple of so many numbers: 64 bytes.
constexpr int64_t align = 16;

int64_t rounded(int64_t n) { return (n + align - 1) / align * align; }

// The memory in which a step travels: head, gradients, statistics.
struct Buffer {
  std::vector<at::Tensor> params, statistics;
  bool bfloat16;
  at::Tensor flat;
  std::vector<at::Tensor> gradients_in_flat, statistics_in_flat;
  int64_t statistics_begin;

  // in_flat are the parts of the buffer for tensors, in their shapes and memory formats.
  std::vector<at::Tensor> in_flat(const std::vector<at::Tensor> &tensors, int64_t *offset) const {
    std::vector<at::Tensor> parts;
    for (auto &t : tensors) {
      parts.push_back(flat.as_strided(t.sizes(), t.strides(), *offset));
      *offset += rounded(t.numel());
    }
    return parts;
  }

  Buffer(at::Device device, gl_tensor *p, int64_t n, gl_tensor *s, int64_t m, bool bfloat16) : bfloat16(bfloat16) {
    for (int64_t i = 0; i < n; i++) params.push_back(ref(p[i]));
    for (int64_t i = 0; i < m; i++) statistics.push_back(ref(s[i]).detach());
    int64_t size = align;
    for (auto *all : {&params, &statistics}) {
      for (auto &t : *all) {
        TORCH_CHECK(t.is_non_overlapping_and_dense() && t.scalar_type() == at::kFloat && t.device().type() == device.type(),
                    "only dense tensors of float32 on ", device, " can be averaged");
        size += rounded(t.numel());
      }
    }
    flat = at::zeros({size}, device);
    int64_t offset = align;
    gradients_in_flat = in_flat(params, &offset);
    statistics_begin = offset;
    statistics_in_flat = in_flat(statistics, &offset);
  }
};

}  // namespace
