// Package cgotorch compiles and links gotorch's C++ half, so that `go build` is all it takes.
//
// gotorch expects a libcgotorch that was built by hand in the module cache. Here its sources, copied unmodified into
// the folder cgotorch (a Go module's C++ cannot be included from the module cache: its path is not known to cgo), are
// compiled as part of this package, and the -lcgotorch that gotorch asks for finds the empty linker script in lib.
// In place of all of libtorch, torch/torch.h is what they use of it.
// A test compares the copy with the module's files.
package cgotorch

// Not optimised and without debug information, which is half of the time: it makes tensors and calls libtorch.

// #cgo CXXFLAGS: -std=c++20 -O0 -g0 -I/usr/include/torch/csrc/api/include
// #cgo LDFLAGS: -L${SRCDIR}/lib -ltorch -ltorch_cpu -lc10
import "C"
