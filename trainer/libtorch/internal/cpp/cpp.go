// Package cpp is the C++ of package libtorch: libtorch.h says what Go calls of it. It is a package of its own because it takes long
// to compile, and nothing in Go, no test and no build tag makes go build compile it anew. What depends on build tags, it
// finds in package device when the program is linked; package libtorch says with what.
package cpp

// Without -g: debug information is a quarter of the time, and the trainer is linked without it.
// at::parallel_for, a template, has threads only where it is compiled with -fopenmp.

// #cgo CXXFLAGS: -std=c++20 -O3 -g0 -fopenmp -I/usr/include/torch/csrc/api/include
import "C"

import _ "embed"

// KernelArgs is what the kernels of package device are given as structs, for NVRTC to compile in front of them.
//
//go:embed kernel_args.h
var KernelArgs string
