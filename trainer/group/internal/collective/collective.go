//go:build cuda || !nogloo

// Package collective is what the processes of a group compute together: c10d's ProcessGroupGloo on CPUs, NCCL on GPUs, over addresses that
// Go exchanges. Tensors are pointers to at::Tensor, which the caller keeps alive and does not use during a call; those that are summed
// are contiguous.
package collective

// #cgo CXXFLAGS: -std=c++20 -O2 -g0 -I/usr/include/torch/csrc/api/include
// #cgo !cuda CXXFLAGS: -DUSE_C10D_GLOO
// #cgo LDFLAGS: -ltorch -ltorch_cpu -lc10
// #cgo !cuda LDFLAGS: -lgloo
// #include <stdlib.h>
// #include "collective.h"
import "C"

import (
	"errors"
	"runtime"
	"runtime/cgo"
	"time"
	"unsafe"
)

// Available says whether groups can be made.
const Available = true

// Group is connected to the same group in other processes. Its calls must be made in the same order by all of them;
// only GiveUp may be called at any time.
type Group struct{ c *C.gl_group }

// New connects the processes of a group; host is the address on which this one listens.
func New(store Store, rank, size int, host string, timeout time.Duration) (*Group, error) {
	id := cgo.NewHandle(store)
	h := C.CString(host)
	defer C.free(unsafe.Pointer(h))
	g := &Group{}
	err := check(C.gl_new(C.uintptr_t(id), C.int(rank), C.int(size), h, C.int64_t(timeout.Milliseconds()), &g.c))
	return g, err // c10d may keep the store: its handle stays
}

// Sum replaces tensors by their sums over all processes: the same bits in all of them, and in every run.
func (g *Group) Sum(tensors []unsafe.Pointer) error {
	return check(C.gl_sum(g.c, unsafe.SliceData(c(tensors)), C.int64_t(len(tensors))))
}

// SumFloat64 replaces numbers by their sums over all processes, likewise.
func (g *Group) SumFloat64(numbers []float64) error {
	return check(C.gl_sum_float64(g.c, (*C.double)(unsafe.SliceData(numbers)), C.int64_t(len(numbers))))
}

// GiveUp ends the calls under way, and all that follow, with an error.
func (g *Group) GiveUp() { C.gl_give_up(g.c) }

// Close closes the connections, unless the group was given up.
func (g *Group) Close() { C.gl_delete(g.c) }

// Mean is a buffer in which the gradients of parameters, and statistics, travel together.
type Mean struct{ c *C.gl_mean }

// NewMean makes a buffer for dense tensors of float32 on the group's device. They must not move any more. With bfloat16, gradients
// are rounded to that before and after they are added, and travel so.
func NewMean(params, statistics []unsafe.Pointer, bfloat16 bool) (*Mean, error) {
	m := &Mean{}
	err := check(C.gl_mean_new(unsafe.SliceData(c(params)), C.int64_t(len(params)),
		unsafe.SliceData(c(statistics)), C.int64_t(len(statistics)), C.bool(bfloat16), &m.c))
	if err == nil {
		runtime.AddCleanup(m, func(c *C.gl_mean) { C.gl_mean_delete(c) }, m.c)
	}
	return m, err
}

// Do replaces gradients, loss and statistics [first, last) by their means over all processes. Until the next call the
// gradients are parts of the buffer. On CPUs it returns whether stop is true in any process; on GPUs nothing waits for that, and it is false.
func (m *Mean) Do(g *Group, loss unsafe.Pointer, first, last int, stop bool) (bool, error) {
	defer runtime.KeepAlive(m)
	anyStop := C.bool(stop && !OnGPU)
	err := check(C.gl_mean_do(g.c, m.c, C.gl_tensor(loss), C.int64_t(first), C.int64_t(last), &anyStop))
	return bool(anyStop), err
}

func c(tensors []unsafe.Pointer) []C.gl_tensor {
	handles := make([]C.gl_tensor, len(tensors))
	for i, t := range tensors {
		handles[i] = C.gl_tensor(t)
	}
	return handles
}

// check turns a message from C into an error and frees it.
func check(m C.gl_message) error {
	if m == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(m))
	return errors.New(C.GoString(m))
}
