// From bytes to the input of a network.
#pragma once

#include <vector>

#include "tensor.h"

// ((value/255) - mean[c]) / std[c] at value·channels + c: one pass over a batch, and the very numbers of torchvision's ToTensor
// and Normalize.
std::vector<float> normalisation_table(int64_t channels, const float *mean, const float *std);

// Bytes N×H×W×C to float32 N×C×H×W on a GPU with kernels of our own.
at::Tensor device_images(const uint8_t *pixels, int64_t n, int64_t h, int64_t w, int64_t c, const std::vector<float> &table);
