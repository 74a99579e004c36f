// What gotorch's sources use of torch/torch.h, which takes twice as long to compile.
#pragma once

#include <torch/cuda.h>
#include <torch/nn/functional/activation.h>
#include <torch/nn/functional/batchnorm.h>
#include <torch/nn/functional/conv.h>
#include <torch/nn/functional/linear.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/functional/pooling.h>
#include <torch/nn/init.h>
#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace torch::data {
namespace datasets {
class MNIST;
}
namespace transforms {
template <class Target = Tensor>
struct Normalize;
}
}  // namespace torch::data
