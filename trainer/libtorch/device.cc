// What Go asks of a device.
#include "device.h"

#include "guard.h"

std::string kernel_for(const char *name, const at::Tensor &t) {
  switch (t.scalar_type()) {
    case at::kFloat:
      return std::string(name) + "_float";
    case at::kHalf:
      return std::string(name) + "_half";
    default:
      TORCH_CHECK(t.scalar_type() == at::kBFloat16, "no kernel for ", t.scalar_type());
      return std::string(name) + "_bfloat16";
  }
}

bool lt_gpu_available(void) {
  try {
    return gpu_available();
  } catch (...) {
    return false;
  }
}

bool lt_has_kernels(lt_tensor t) { return has_kernels(ref(t)); }

lt_message lt_begin_device(void) {
  return guard([] { begin_device(); });
}

lt_message lt_graph_begin(lt_graph *out) {
  return guard([&] {
    std::unique_ptr<Graph> graph = new_graph();
    graph->begin();
    *out = graph.release();
  });
}

lt_message lt_graph_end(lt_graph g) {
  return guard([&] { static_cast<Graph *>(g)->end(); });
}

lt_message lt_graph_replay(lt_graph g) {
  return guard([&] { static_cast<Graph *>(g)->replay(); });
}

void lt_graph_delete(lt_graph g) { delete static_cast<Graph *>(g); }
