// What every .cc file of this package needs: handles to references, and exceptions to messages.
#pragma once

#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "device.h"
#include "libtorch.h"
#include "tensor.h"

inline at::Tensor &ref(lt_tensor t) { return *static_cast<at::Tensor *>(t); }

inline lt_tensor handle(at::Tensor t) { return new at::Tensor(std::move(t)); }

inline at::Device device_of(lt_device d) { return d == LT_CUDA ? gpu() : at::Device(at::kCPU); }

inline lt_message message(const std::string &s) { return strdup(s.c_str()); }

// The first line of an error; what follows is the backtrace.
inline lt_message first_line(const char *what) {
  std::string s(what);
  return message(s.substr(0, s.find('\n')));
}

// guard runs f and turns whatever it throws into a message.
template <class F>
lt_message guard(F f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const c10::Error &e) {
    return first_line(e.what_without_backtrace());
  } catch (const std::exception &e) {
    return first_line(e.what());
  } catch (...) {
    return message("unknown C++ exception");
  }
}
