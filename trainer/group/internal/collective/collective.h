// The C face that Go calls: c10d's ProcessGroupGloo on CPUs, gloo.cc, or NCCL on GPUs, nccl.cc. A tensor is an at::Tensor*, as everywhere in the trainer.
//
// Functions return NULL or a message of one line, to be freed with free. No C++ exception crosses this border.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *gl_tensor;
typedef char *gl_message;
typedef struct gl_group gl_group;
typedef struct gl_mean gl_mean;

// gl_new connects to the other processes. Where they listen it learns from a store, which Go holds (see gl_store_set and gl_store_get).
// Gloo listens on the address host, and waits no longer than the timeout.
gl_message gl_new(uintptr_t store, int rank, int size, const char *host, int64_t timeout_ms, gl_group **out);
// gl_give_up ends the calls under way, and all that follow, with an error. It may be called from any thread.
void gl_give_up(gl_group *g);
// gl_delete closes the connections. After gl_give_up it leaves them to the end of the process.
void gl_delete(gl_group *g);

// gl_sum replaces each of n tensors by its sum over all processes.
gl_message gl_sum(gl_group *g, gl_tensor *tensors, int64_t n);
// gl_sum_float64 replaces each of n numbers by its sum over all processes.
gl_message gl_sum_float64(gl_group *g, double *numbers, int64_t n);

// gl_mean_new makes the buffer in which gradients and statistics travel; the gradients as bfloat16 if told so.
gl_message gl_mean_new(gl_tensor *params, int64_t n, gl_tensor *statistics, int64_t m, bool bfloat16,
                       gl_mean **out);
void gl_mean_delete(gl_mean *m);
// gl_mean_do replaces the gradients of the parameters, the loss and, if told so, the statistics by their means over all
// processes. stop becomes true if it is true anywhere.
gl_message gl_mean_do(gl_group *g, gl_mean *m, gl_tensor loss, int64_t first, int64_t last, bool *stop);

// In Go. A message is an error.
gl_message gl_store_set(uintptr_t store, char *key, void *value, int64_t n);
// *value is to be freed with free.
gl_message gl_store_get(uintptr_t store, char *key, void **value, int64_t *n);

#ifdef __cplusplus
}
#endif
