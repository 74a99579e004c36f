// The C face of libtorch that Go calls. A tensor is an at::Tensor*, the handle that gotorch uses.
//
// Every function that can fail returns NULL or a message of one line, to be freed with lt_free_message. No C++
// exception crosses this border. Functions write their result, a new handle, to *out.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *lt_tensor;
typedef const char *lt_message;
typedef void *lt_graph;
typedef enum { LT_CPU = 0, LT_CUDA = 1 } lt_device;
typedef enum { LT_RELU, LT_LEAKY_RELU, LT_SILU, LT_GELU, LT_HARDSWISH, LT_IDENTITY } lt_activation_kind;

void lt_free_message(lt_message m);

// tensor.cc: the state of the calling thread.
lt_message lt_set_num_threads(int n);
bool lt_set_grad_enabled(bool enabled);  // returns what it was
lt_message lt_set_deterministic(bool on);
void lt_forbid_tf32(void);
lt_message lt_autocast_begin(lt_device device, int dtype);
void lt_autocast_end(lt_device device);
lt_message lt_version(void);  // not an error; also to be freed
lt_message lt_config(void);   // likewise
bool lt_has_amx(void);

// device.cc, package device: a GPU, with kernels of our own where the program was built for it.
int lt_gpu_count(void);
void lt_cuda_source(const char *text);  // of the kernels: before any of them runs; text stays
// The kernels for GPUs of a compute capability, such as 90. *arch and *code are to be freed with free.
lt_message lt_cuda_compile(int capability, char **arch, char **code, int64_t *n);
bool lt_has_kernels(lt_tensor t);
lt_message lt_begin_device(void);
lt_message lt_device_memory(int64_t *free, int64_t *total, int64_t *peak);
lt_message lt_graph_begin(lt_graph *out);
lt_message lt_graph_end(lt_graph g);
lt_message lt_graph_replay(lt_graph g);
void lt_graph_delete(lt_graph g);

// tensor.cc: life, shape and content.
void lt_delete(lt_tensor *handles, int64_t n);
lt_message lt_full(const int64_t *sizes, int64_t dims, double value, int dtype, lt_device device, lt_tensor *out);
lt_message lt_zeros_like(lt_tensor a, int dtype, lt_tensor *out);  // dtype -1: that of a
lt_message lt_requires_grad(lt_tensor a, bool yes);
lt_message lt_all_finite(lt_tensor a, bool *out);
lt_message lt_move(lt_tensor a, lt_device device, bool channels_last);  // in place: the handle stays
lt_message lt_numel(lt_tensor a, int64_t *n, int64_t *element_size);
lt_message lt_read(lt_tensor a, void *to, int64_t bytes);           // contiguous, row-major
lt_message lt_write(lt_tensor a, const void *from, int64_t bytes);  // likewise, of the dtype of a
lt_message lt_grad(lt_tensor a, lt_tensor *out);

// ops.cc: the network, forward and backward.
lt_message lt_images(const uint8_t *pixels, int64_t n, int64_t h, int64_t w, int64_t c, const float *mean,
                     const float *std, lt_device device, lt_tensor *out);
lt_message lt_labels(const int64_t *labels, int64_t n, lt_device device, lt_tensor *out);
lt_message lt_conv2d(lt_tensor x, lt_tensor weight, int64_t stride, int64_t padding, lt_tensor *out);
// weights: weight, bias, running mean and variance. group: of lt_all_reduce, 0 for a process alone. add may be NULL.
lt_message lt_batch_norm(lt_tensor x, const lt_tensor weights[4], bool training, double momentum, double eps,
                         uintptr_t group, lt_tensor add, lt_activation_kind kind, lt_tensor *out);

// quant.cc: quantisation-aware training. ranges are float32 [n][2] and move if averaging is above 0; numbers are rows of it.
typedef struct {
  lt_tensor ranges;
  double averaging;
} lt_observers;
typedef struct {
  lt_tensor weights[4];  // as of lt_batch_norm
  bool training;
  double momentum, eps;
  uintptr_t group;
  lt_observers observers;
  lt_tensor weight_scales;
  int64_t input, addend, term, output;
  bool relu;
} lt_quant_norm;
lt_message lt_fake_quantize(lt_tensor x, lt_observers o, int64_t row, lt_tensor *out);
lt_message lt_quantize_weights(lt_tensor w, double limit, lt_tensor *integers, lt_tensor *scales);
lt_message lt_quant_batch_norm(const lt_quant_norm *q, lt_tensor x, lt_tensor add, lt_tensor *out);
lt_message lt_quant_leaky_relu(lt_tensor x, lt_observers o, int64_t input, int64_t output, lt_tensor *out);
lt_message lt_quant_linear(lt_tensor x, lt_observers o, int64_t input, int64_t pooled, lt_tensor weight, lt_tensor bias, double limit,
                           lt_tensor *out);

lt_message lt_group_norm(lt_tensor x, lt_tensor weight, lt_tensor bias, int64_t groups, double eps, lt_tensor *out);
lt_message lt_activation(lt_tensor x, lt_activation_kind kind, lt_tensor *out);
lt_message lt_add_activation(lt_tensor x, lt_tensor y, lt_activation_kind kind, lt_tensor *out);
lt_message lt_max_pool(lt_tensor x, lt_tensor *out);
lt_message lt_global_avg_pool(lt_tensor x, lt_tensor *out);
lt_message lt_linear(lt_tensor x, lt_tensor weight, lt_tensor bias, lt_tensor *out);
// weights, one for each class, may be NULL. The sum over the batch is then divided by that of the weights of its labels,
// or else by total, if that is not 0: one double on the device.
lt_message lt_cross_entropy(lt_tensor logits, lt_tensor labels, lt_tensor weights, double label_smoothing, double total,
                            lt_tensor device_total, lt_tensor *out);
// a·share + b·(1 - share), where the share may be one double on the device.
lt_message lt_lerp(lt_tensor a, lt_tensor b, double share, lt_tensor device_share, lt_tensor *out);
// torch.narrow in the first dimension, and torch.roll by one.
lt_message lt_narrow(lt_tensor a, int64_t first, int64_t n, lt_tensor *out);
lt_message lt_element(lt_tensor a, int64_t i, lt_tensor *out);
lt_message lt_roll(lt_tensor a, lt_tensor *out);
// The box, from top and left to bottom and right, of others put into images.
lt_message lt_paste(lt_tensor images, lt_tensor others, const int64_t box[4], lt_tensor *out);
// images·share + others·(1 - share), and the box: all five numbers are doubles on the device.
lt_message lt_device_mix(lt_tensor images, lt_tensor others, lt_tensor numbers, lt_tensor *out);
lt_message lt_cross_entropy_sum(lt_tensor logits, lt_tensor labels, lt_tensor *out);
lt_message lt_float(lt_tensor x, lt_tensor *out);
lt_message lt_aminmax(lt_tensor x, lt_tensor *out);
lt_message lt_count_correct(lt_tensor logits, lt_tensor labels, lt_tensor *out);
lt_message lt_count_agreeing(lt_tensor logits, lt_tensor others, lt_tensor *out);
lt_message lt_count_top(lt_tensor logits, lt_tensor labels, int64_t k, lt_tensor *out);
lt_message lt_count_confusion(lt_tensor confusion, lt_tensor logits, lt_tensor labels);
lt_message lt_record_top1(lt_tensor into, int64_t first, lt_tensor logits);
lt_message lt_mirror(lt_tensor x, lt_tensor *out);
lt_message lt_softmax(lt_tensor logits, lt_tensor *out);
lt_message lt_backward(lt_tensor loss);
// In Go: replaces numbers by their sums over the processes of a group.
lt_message lt_all_reduce(uintptr_t group, double *numbers, int64_t n);
lt_message lt_add_to(lt_tensor total, lt_tensor x);
lt_message lt_index_copy(lt_tensor a, lt_tensor index, lt_tensor value);
lt_message lt_index_select(lt_tensor a, lt_tensor index, lt_tensor *out);
lt_message lt_increment(lt_tensor a);

// What an optimiser knows of a parameter: its weight decay, and the factor of its learning rate.
typedef struct {
  double weight_decay, lr_multiplier;
} lt_param_options;

// optimizer.cc: one step for n parameters. Those with found_inf skip it where that is not 0, and count in skipped.
lt_message lt_adamw(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, const lt_param_options *options,
                    int64_t n, int64_t step, double lr, double beta1, double beta2, double eps);
lt_message lt_adamw_unless(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, const lt_param_options *options,
                           int64_t n, int64_t step, double lr, double beta1, double beta2, double eps,
                           lt_tensor found_inf, lt_tensor skipped);
lt_message lt_sgd(lt_tensor *params, lt_tensor *buffers, const lt_param_options *options, int64_t n, bool first, double lr,
                  double momentum, double dampening, bool nesterov);
lt_message lt_sgd_unless(lt_tensor *params, lt_tensor *buffers, const lt_param_options *options, int64_t n, int64_t step,
                         double lr, double momentum, double dampening, bool nesterov, lt_tensor found_inf,
                         lt_tensor skipped);

// device.cc: the same in one pass over the memory of a GPU. rate, two doubles, is the learning rate and the momentum,
// steps counts those that were not skipped; found_inf may be NULL, and so may buffers.
lt_message lt_device_adamw(lt_tensor *params, lt_tensor *exp_avgs, lt_tensor *exp_avg_sqs, const lt_param_options *options,
                           int64_t n, lt_tensor rate, double beta2, double eps, lt_tensor found_inf, lt_tensor steps);
lt_message lt_device_sgd(lt_tensor *params, lt_tensor *buffers, const lt_param_options *options, int64_t n, lt_tensor rate,
                         double dampening, bool nesterov, lt_tensor found_inf, lt_tensor steps);

// device.cc: batches that a GPU makes for itself.
typedef struct {
  lt_tensor pixels, labels, table;  // bytes N×H×W×C, Int64 N, of lt_pixel_table
  lt_tensor order, epoch;           // Int64 N: which image comes when; Int64. NULL: always the first n
  int64_t n, h, w, c;               // of a batch
  uint64_t seed;
  int padding, reflect, flip, cutout;
  uint8_t fill[3];
} lt_device_batch_source;

lt_message lt_upload(const void *from, int64_t n, int dtype, lt_tensor *out);
lt_message lt_upload_to(lt_tensor to, const void *from, int64_t bytes);
lt_message lt_pixel_table(int64_t channels, const float *mean, const float *std, lt_tensor *out);
lt_message lt_device_batch(const lt_device_batch_source *s, lt_tensor clock, lt_tensor *images, lt_tensor *labels);

// optimizer.cc: between backward and the optimiser, and behind it.
void lt_drop_grads(lt_tensor *params, int64_t n);
lt_message lt_grad_norms(lt_tensor *params, int64_t n, lt_tensor *out);
lt_message lt_norm(lt_tensor a, lt_tensor *out);
lt_message lt_clip_grads(lt_tensor *params, int64_t n, lt_tensor total_norm, double max_norm);
lt_message lt_scale(lt_tensor loss, lt_tensor scale, lt_tensor *out);
lt_message lt_amp_unscale(lt_tensor *params, int64_t n, lt_tensor scale, lt_tensor found_inf);
lt_message lt_amp_update(lt_tensor scale, lt_tensor growth_tracker, lt_tensor found_inf, double growth, double backoff,
                         int64_t interval);
lt_message lt_average(lt_tensor *averages, lt_tensor *weights, int64_t n, double decay, lt_tensor rate);

#ifdef __cplusplus
}
#endif
