// What the kernels in cuda/ and the host that launches them must agree on: one text for the host and, in front of the kernels, for NVRTC, which does not
// find any headers. A guard, because NVRTC takes it for a main file.
#ifndef KERNEL_ARGS_H
#define KERNEL_ARGS_H

const int kThreads = 256;  // of a block
const int kEight = 8;      // numbers that a thread works on at a time: channels that lie side by side
const int kSlab = 64;      // channels that a block of normalisation works on

// What is done to the images of a batch: nothing, if all is 0.
struct Augmentation {
  unsigned long long seed;
  int padding, reflect, flip, cutout;
  unsigned char fill[4];  // of a cut-out pixel's channels
};

// Parameters of a launch, as many as fit into a kernel's arguments.
const int kParams = 40;
const int kChunk = 4096;  // numbers of one parameter that a block works on
struct Param {
  float *param;
  const float *grad;
  float *first, *second;  // AdamW: exp_avg, exp_avg_sq. SGD: momentum_buffer
  long long n;
  double decay;
  float lr_multiplier;
  int block;  // its first one; the list is in their order
};
struct Params {
  int n;
  Param list[kParams];
};

// What optimizer_begin finds out about a step. 1 - beta is computed in float64, since little of it would be left in float32.
struct OptimizerStep {
  float ok, first, lr, momentum, one_minus_momentum, beta2, one_minus_beta2, step_size, sqrt_correction2;
};

#endif
