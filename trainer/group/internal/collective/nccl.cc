//go:build cuda

// NCCL's allreduce, on the current stream, so that a graph of a step can hold it. c10d's ProcessGroupNCCL calls the same functions, on streams
// and threads of its own, which a graph would have to be kept from.
#ifndef AT_PER_OPERATOR_HEADERS
#define AT_PER_OPERATOR_HEADERS
#endif
#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "../../../libtorch/internal/device/library.h"
#include "collective.h"
#include "shared.h"

namespace {

struct NCCL : Library {
  NCCL() : Library("libnccl.so.2") {}
  SYMBOL(ncclAllReduce)
  SYMBOL(ncclCommAbort)
  SYMBOL(ncclCommGetAsyncError)
  SYMBOL(ncclCommInitRank)
  SYMBOL(ncclGetErrorString)
  SYMBOL(ncclGetLastError)
  SYMBOL(ncclGetUniqueId)
};

const NCCL &nccl() {
  static const NCCL &n = *new NCCL;
  return n;
}

std::string explain(ncclResult_t r, ncclComm_t comm) {
  return std::string("NCCL: ") + nccl().ncclGetErrorString(r) + ": " + nccl().ncclGetLastError(comm);
}

ncclDataType_t type_of(const at::Tensor &t) {
  switch (t.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    default:
      TORCH_CHECK(t.scalar_type() == at::kLong, "no sums of ", t.scalar_type());
      return ncclInt64;
  }
}

}  // namespace

struct gl_group {
  ncclComm_t comm = nullptr;
  int size;
  std::mutex mutex;  // of what follows
  bool over = false;
  std::string why;
  std::thread watch;
  std::atomic<bool> ends{false};

  // An error that NCCL has met by itself is asked for: without that, a sum that cannot come would be waited for. To abort makes the device end
  // the sums that it is at, and whoever waits for it go on.
  void abort(const std::string &reason) {
    std::lock_guard<std::mutex> lock(mutex);
    if (over) return;
    over = true, why = reason;
    if (comm) nccl().ncclCommAbort(comm);
  }
  void look() {
    for (; !ends; std::this_thread::sleep_for(std::chrono::milliseconds(100))) {
      ncclResult_t error = ncclSuccess;
      {
        std::lock_guard<std::mutex> lock(mutex);
        if (over) return;
        nccl().ncclCommGetAsyncError(comm, &error);
      }
      if (error != ncclSuccess && error != ncclInProgress) abort(explain(error, comm));
    }
  }
  void check() {
    std::lock_guard<std::mutex> lock(mutex);
    if (over) throw std::runtime_error(why);
  }
  // Asks for the sum, or mean, of a contiguous tensor of the device.
  void reduce(const at::Tensor &t, ncclRedOp_t op) {
    if (t.numel() == 0) return;
    check();
    ncclResult_t r = nccl().ncclAllReduce(t.data_ptr(), t.data_ptr(), t.numel(), type_of(t), op, comm, at::cuda::getCurrentCUDAStream());
    if (r != ncclSuccess) throw std::runtime_error(explain(r, comm));
  }
  // The sum of a tensor, wherever it is. Of one on the CPU it waits for.
  void sum(at::Tensor &t) {
    at::Tensor there = t.to(at::kCUDA);
    reduce(there, ncclSum);
    if (t.is_cpu()) t.copy_(there);
    check();
  }
};

gl_message gl_new(uintptr_t store, int rank, int size, const char *, int64_t, gl_group **out) {
  return guard([&] {
    TORCH_CHECK(c10::cuda::device_count() > 0, "there is no GPU");
    ncclUniqueId id;
    const std::string key = "nccl";
    if (rank == 0) {
      ncclResult_t r = nccl().ncclGetUniqueId(&id);
      if (r != ncclSuccess) throw std::runtime_error(explain(r, nullptr));
      store_set(store, key, {id.internal, id.internal + sizeof id});
    } else {
      std::vector<uint8_t> bytes = store_get(store, key);
      TORCH_CHECK(bytes.size() == sizeof id, "rank 0 has another version of NCCL");
      memcpy(&id, bytes.data(), sizeof id);
    }
    auto g = std::make_unique<gl_group>();
    g->size = size;
    (void)at::zeros({1}, at::kCUDA);  // the device's context, for this thread
    ncclResult_t r = nccl().ncclCommInitRank(&g->comm, size, id, rank);
    if (r != ncclSuccess) throw std::runtime_error(explain(r, nullptr));
    g->watch = std::thread([g = g.get()] { g->look(); });
    *out = g.release();
  });
}

void gl_give_up(gl_group *g) { g->abort("given up"); }

// The communicator stays to the end of the process: graphs may hold it.
void gl_delete(gl_group *g) {
  g->ends = true;
  g->watch.join();
}

gl_message gl_sum(gl_group *g, gl_tensor *tensors, int64_t n) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    for (int64_t i = 0; i < n; i++) g->sum(ref(tensors[i]));
  });
}

gl_message gl_sum_float64(gl_group *g, double *numbers, int64_t n) {
  return guard([&] {
    at::Tensor t = at::from_blob(numbers, {n}, at::kDouble);
    g->sum(t);
  });
}

struct gl_mean : Buffer {
  using Buffer::Buffer;
};

gl_message gl_mean_new(gl_tensor *params, int64_t n, gl_tensor *statistics, int64_t m, bool bfloat16, gl_mean **out) {
  return guard([&] { *out = new gl_mean(at::kCUDA, params, n, statistics, m, bfloat16); });
}

void gl_mean_delete(gl_mean *m) { delete m; }

// Nothing here waits for the device, which may be recording: *stop stays as it is.
gl_message gl_mean_do(gl_group *g, gl_mean *m, gl_tensor loss, int64_t first, int64_t last, bool *stop) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    std::vector<at::Tensor> to, from;
    for (size_t i = 0; i < m->params.size(); i++) {
      const at::Tensor &grad = m->params[i].grad();
      if (grad.defined())
        to.push_back(m->gradients_in_flat[i]), from.push_back(grad);
      else
        m->gradients_in_flat[i].zero_();
    }
    for (int64_t i = first; i < last; i++) to.push_back(m->statistics_in_flat[i]), from.push_back(m->statistics[i]);
    to.push_back(m->flat.narrow(0, LOSS, 1)), from.push_back(ref(loss).detach().reshape({1}));
    at::_foreach_copy_(to, from);

    int64_t end = first < last ? m->flat.numel() : m->statistics_begin;
    if (m->bfloat16) {
      at::Tensor gradients = m->flat.slice(0, align, m->statistics_begin), travels = gradients.to(at::kBFloat16);
      g->reduce(travels, ncclAvg);
      gradients.copy_(travels);
      g->reduce(m->flat.slice(0, 0, align), ncclAvg);
      g->reduce(m->flat.slice(0, m->statistics_begin, end), ncclAvg);
    } else {
      g->reduce(m->flat.slice(0, 0, end), ncclAvg);
    }

    for (size_t i = 0; i < m->params.size(); i++) m->params[i].mutable_grad() = m->gradients_in_flat[i];
    to = {ref(loss).detach().reshape({1})}, from = {m->flat.narrow(0, LOSS, 1)};
    for (int64_t i = first; i < last; i++) to.push_back(m->statistics[i]), from.push_back(m->statistics_in_flat[i]);
    at::_foreach_copy_(to, from);
  });
}
