// Package libtorch is the trainer's binding to libtorch (PyTorch's C++ library), beside gotorch and over the same
// handles: a Tensor here is a gotorch Tensor, a pointer to an at::Tensor.
//
// # What comes from gotorch
//
// The Tensor type; the nn modules as holders of parameters (nn.Conv2d, nn.BatchNorm2d, nn.Linear), their initialisers
// and the random seed. They run once, on one goroutine, before training begins, and give the very weights that PyTorch
// gives for the same seed. Tensors that outlive a step also carry gotorch's finalizer.
//
// # What does not, and why
//
// Everything that runs in a step. gotorch frees intermediate tensors by finalizers, which leaks 41 MB a step unless
// torch.GC() is called, which hangs if any tensor outlives a step; it does not keep its arguments alive during a call;
// its Backward ends the process on an error and its other calls panic; and it has no AdamW, no_grad, autocast, memory
// formats or label smoothing. Its state dicts replace handles under the optimiser's feet and lack num_batches_tracked.
//
// Here a Scope owns the tensors of a step and frees them at its end, no call can end the process, and errors are the
// first line of libtorch's message. A Scope keeps the first error and does nothing after it, so that a forward pass
// reads like its formula; Do returns the error.
//
// # GPUs
//
// With the build tag cuda there are kernels of our own for GPUs: internal/device/cuda, launched through device.h, and steps can be
// captured as a graph (Capture), and processes exchange by NCCL. Without it a GPU has libtorch's operations. The tag cuda_emulated, for tests, runs the kernels on the CPU.
//
// # Building
//
// Needs libtorch, 1.13 or later, and tcmalloc: on Debian the packages libtorch-dev, libopenblas0-openmp (without it the
// BLAS is the slow reference one) and libtcmalloc-minimal4. For a libtorch elsewhere there is hack/libtorch.sh; that of PyPI has no
// Gloo, for which there is the tag nogloo.
package libtorch

// tcmalloc is found before libc: training is 10 to 45 % faster, since glibc gives the memory of every large activation back
// to the kernel and faults it in again. It stands behind libtorch so that the dynamic linker, which begins with what it
// found last, initialises it first; until then it is slow. Build with -tags notcmalloc for none.

// #cgo LDFLAGS: -fopenmp -ltorch -ltorch_cpu -lc10
// #cgo !notcmalloc LDFLAGS: -Wl,--no-as-needed -l:libtcmalloc_minimal.so.4
import "C"

import (
	_ "github.com/resnet-operator/resnet-operator/trainer/libtorch/internal/cgotorch" // gotorch's C++
	_ "github.com/resnet-operator/resnet-operator/trainer/libtorch/internal/device"   // ours
)
