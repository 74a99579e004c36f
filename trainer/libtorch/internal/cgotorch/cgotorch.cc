// gotorch's C++ in one translation unit: the headers of libtorch are parsed once instead of nine times.
#include "headers.h"  // here too: go build looks for changes in no other folder

#include "cgotorch/cuda.cc"
#include "cgotorch/device.cc"
#include "cgotorch/functional.cc"
#include "cgotorch/init.cc"
#include "cgotorch/memory.cc"
#include "cgotorch/optim.cc"
#include "cgotorch/pickle.cc"
#include "cgotorch/tensor.cc"
#include "cgotorch/torch.cc"
