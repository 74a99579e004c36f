//go:build !cuda && !nogloo

// c10d's ProcessGroupGloo, over addresses that Go exchanges.
#ifndef AT_PER_OPERATOR_HEADERS
#define AT_PER_OPERATOR_HEADERS
#endif
#include "collective.h"
#include "shared.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

namespace {

// GoStore is where Gloo leaves its own address and finds those of the others. It needs no more of a store.
struct GoStore : c10d::Store {
  GoStore(uintptr_t id, std::chrono::milliseconds timeout) : Store(timeout), id(id) {}

  void set(const std::string &key, const std::vector<uint8_t> &value) override {
    store_set(id, key, value);
  }
  std::vector<uint8_t> get(const std::string &key) override {
    return store_get(id, key);
  }
  void wait(const std::vector<std::string> &keys) override {
    for (auto &key : keys) get(key);
  }
  void wait(const std::vector<std::string> &keys, const std::chrono::milliseconds &) override { wait(keys); }

  int64_t add(const std::string &, int64_t) override { throw std::logic_error("store: add"); }
  bool deleteKey(const std::string &) override { throw std::logic_error("store: deleteKey"); }
  bool check(const std::vector<std::string> &) override { throw std::logic_error("store: check"); }
  int64_t getNumKeys() override { throw std::logic_error("store: getNumKeys"); }

  const uintptr_t id;
};

// GivenUp is shared with callbacks, which may come when nobody waits any more.
struct GivenUp {
  std::mutex mutex;
  std::condition_variable changed;
  bool yes = false;
};

}  // namespace

struct gl_group {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;
  std::shared_ptr<GivenUp> given_up = std::make_shared<GivenUp>();

  c10::intrusive_ptr<c10d::Work> begin(at::Tensor t) {
    std::vector<at::Tensor> tensors{std::move(t)};
    return group->allreduce(tensors);
  }

  void wait(const c10::intrusive_ptr<c10d::Work> &work) {
    auto future = work->getFuture();
    auto g = given_up;
    future->addCallback([g](auto &) {
      std::lock_guard<std::mutex> lock(g->mutex);
      g->changed.notify_all();
    });
    {
      std::unique_lock<std::mutex> lock(g->mutex);
      g->changed.wait(lock, [&] { return g->yes || future->completed(); });
      if (g->yes) throw std::runtime_error("given up");
    }
    work->wait();
  }

  void wait(const std::vector<c10::intrusive_ptr<c10d::Work>> &works) {
    for (auto &work : works) wait(work);
  }
};

gl_message gl_new(uintptr_t store, int rank, int size, const char *host, int64_t timeout_ms, gl_group **out) {
  return guard([&] {
    std::chrono::milliseconds timeout(timeout_ms);
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(host));
    auto g = std::make_unique<gl_group>();
    g->group = c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<GoStore>(store, timeout), rank, size,
                                                           options);
    *out = g.release();
  });
}

void gl_give_up(gl_group *g) {
  std::lock_guard<std::mutex> lock(g->given_up->mutex);
  g->given_up->yes = true;
  g->given_up->changed.notify_all();
}

void gl_delete(gl_group *g) {
  bool given_up;
  {
    std::lock_guard<std::mutex> lock(g->given_up->mutex);
    given_up = g->given_up->yes;
  }
  if (!given_up) delete g;  // else its destructor might wait for what will never come
}

gl_message gl_sum(gl_group *g, gl_tensor *tensors, int64_t n) {
  return guard([&] {
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    for (int64_t i = 0; i < n; i++) works.push_back(g->begin(ref(tensors[i])));
    g->wait(works);
  });
}

gl_message gl_sum_float64(gl_group *g, double *numbers, int64_t n) {
  return guard([&] {
    at::Tensor t = at::empty({n}, at::kDouble);  // which outlives this call if it is given up
    memcpy(t.data_ptr(), numbers, n * sizeof *numbers);
    g->wait(g->begin(t));
    memcpy(numbers, t.data_ptr(), n * sizeof *numbers);
  });
}

// So many numbers are summed at once, 16 MiB. From three processes on the order of additions depends on it: with another
// number a training that goes on has other bits.
static constexpr int64_t bucket = 4 << 20;

struct gl_mean : Buffer {
  using Buffer::Buffer;
};

gl_message gl_mean_new(gl_tensor *params, int64_t n, gl_tensor *statistics, int64_t m, bool bfloat16,
                       gl_mean **out) {
  return guard([&] { *out = new gl_mean(at::kCPU, params, n, statistics, m, bfloat16); });
}

void gl_mean_delete(gl_mean *m) { delete m; }

namespace {

// Sums parts of the buffer in place.
void sum(gl_group *g, const at::Tensor &flat, const std::vector<std::pair<int64_t, int64_t>> &parts) {
  std::vector<c10::intrusive_ptr<c10d::Work>> works;
  for (auto &part : parts)
    for (int64_t begin = part.first; begin < part.second; begin += bucket)
      works.push_back(g->begin(flat.slice(0, begin, std::min(begin + bucket, part.second))));
  g->wait(works);
}

// Sums numbers in place, which travel as bfloat16. Gloo cannot add those: each rank gets its shard from all, adds in
// float32 in the order of the ranks, and gives the sum, rounded, to all. As halves Gloo only moves them.
void sum_bfloat16(gl_group *g, at::Tensor numbers) {
  int64_t size = g->group->getSize(), n = numbers.numel(), shard = rounded((n + size - 1) / size);
  auto halves = [&](const at::Tensor &t) { return t.view(at::kHalf); };
  at::Tensor sent = at::zeros({size * shard}, at::kBFloat16), received = at::empty({size * shard}, at::kBFloat16);
  sent.slice(0, 0, n).copy_(numbers);
  at::Tensor to = halves(received), from = halves(sent);
  std::vector<int64_t> equal;
  g->wait(g->group->alltoall_base(to, from, equal, equal));
  at::Tensor sum = received.slice(0, 0, shard).to(at::kFloat);
  for (int64_t rank = 1; rank < size; rank++) sum.add_(received.slice(0, rank * shard, (rank + 1) * shard));
  std::vector<at::Tensor> own{halves(sum.to(at::kBFloat16))};
  std::vector<std::vector<at::Tensor>> all{halves(received).split(shard)};
  g->wait(g->group->allgather(all, own));
  numbers.copy_(received.slice(0, 0, n));
}

}  // namespace

gl_message gl_mean_do(gl_group *g, gl_mean *m, gl_tensor loss, int64_t first, int64_t last, bool *stop) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    at::Tensor share = at::scalar_tensor(1.0 / g->group->getSize());
    for (size_t i = 0; i < m->params.size(); i++) {
      const at::Tensor &grad = m->params[i].grad();
      if (grad.defined())
        at::mul_out(m->gradients_in_flat[i], grad, share);
      else
        m->gradients_in_flat[i].zero_();
    }
    for (size_t i = 0; i < m->statistics.size(); i++)
      at::mul_out(m->statistics_in_flat[i], m->statistics[i], share);
    float *head = m->flat.data_ptr<float>();
    head[LOSS] = ref(loss).item<float>() / g->group->getSize();
    head[STOP] = *stop;

    if (m->bfloat16) {
      sum_bfloat16(g, m->flat.slice(0, align, m->statistics_begin));
      sum(g, m->flat, {{0, align}, {m->statistics_begin, m->flat.numel()}});
    } else {
      sum(g, m->flat, {{0, m->flat.numel()}});
    }

    ref(loss).detach().fill_(head[LOSS]);
    *stop = head[STOP] > 0;
    for (size_t i = 0; i < m->params.size(); i++) m->params[i].mutable_grad() = m->gradients_in_flat[i];
    for (int64_t i = first; i < last; i++) m->statistics[i].copy_(m->statistics_in_flat[i]);
  });
}
