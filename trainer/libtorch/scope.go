package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	torch "github.com/wangkuiyi/gotorch"
)

// Tensor is a handle to an at::Tensor, the one that gotorch uses.
type Tensor = torch.Tensor

// Scope owns the tensors that are made in it. It belongs to one goroutine. After an error its operations do nothing and
// return undefined tensors.
type Scope struct {
	owned []*unsafe.Pointer
	err   error
}

// Do runs f and frees all tensors that were made in its scope, except those kept. It returns the scope's first error.
//
// The goroutine stays on one OS thread meanwhile, because gradient mode, autocast and the number of OpenMP threads
// belong to threads.
func Do(f func(s *Scope)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := &Scope{}
	defer s.free()
	s.try("set_num_threads", C.lt_set_num_threads(C.int(Threads())))
	if s.err == nil {
		f(s)
	}
	return s.err
}

// NoGrad is torch.no_grad: what f computes is not recorded for Backward.
func (s *Scope) NoGrad(f func()) {
	was := C.lt_set_grad_enabled(false)
	defer C.lt_set_grad_enabled(was)
	f()
}

// Autocast is torch.autocast(device, dtype): convolutions and matrix products in f run in that dtype, and what PyTorch
// lists as needing it in float32. Float32 means no autocast.
func (s *Scope) Autocast(d Device, dtype DType, f func()) {
	if dtype == Float32 {
		f()
		return
	}
	s.do("autocast", func() C.lt_message { return C.lt_autocast_begin(C.lt_device(d), C.int(dtype)) })
	if s.err == nil {
		defer C.lt_autocast_end(C.lt_device(d))
		f()
	}
}

// Err is the scope's first error so far.
func (s *Scope) Err() error { return s.err }

// Fail makes err the scope's error, unless it has one or err is nil: what follows is not done.
func (s *Scope) Fail(err error) { s.fail(err) }

// Keep takes t out of the scope: it lives as long as Go refers to it.
func (s *Scope) Keep(t Tensor) Tensor {
	if s.disown(t) {
		torch.SetTensorFinalizer(t.T)
	}
	return t
}

// Free frees t, if it was made in s, before s ends. What gradients need of it, autograd keeps.
func (s *Scope) Free(t Tensor) {
	if s.disown(t) {
		h := C.lt_tensor(*t.T)
		C.lt_delete(&h, 1)
		*t.T = nil
	}
}

// disown takes t out of the scope; false if it was not in it.
func (s *Scope) disown(t Tensor) bool {
	i := slices.Index(s.owned, t.T)
	if i < 0 {
		return false
	}
	s.owned = slices.Delete(s.owned, i, i+1)
	return true
}

// make calls op, which writes a new handle to out, and takes the new tensor into the scope. The arguments of op are
// kept alive for the call.
func (s *Scope) make(name string, op func(out *C.lt_tensor) C.lt_message, args ...Tensor) Tensor {
	var out C.lt_tensor
	s.do(name, func() C.lt_message { return op(&out) }, args...)
	if s.err != nil {
		return Tensor{}
	}
	h := new(unsafe.Pointer)
	*h = unsafe.Pointer(out)
	s.owned = append(s.owned, h)
	return Tensor{T: h}
}

// do calls op, which makes no tensor.
func (s *Scope) do(name string, op func() C.lt_message, args ...Tensor) {
	if s.err != nil {
		return
	}
	for _, a := range args {
		if !defined(a) {
			s.fail(fmt.Errorf("libtorch: %s: %w", name, errFreed))
			return
		}
	}
	s.try(name, op())
	runtime.KeepAlive(args)
}

func (s *Scope) try(name string, m C.lt_message) { s.fail(check(name, m)) }

// fail keeps the first error.
func (s *Scope) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// free deletes the tensors in one call and marks their handles, so that using one is an error and not a crash.
func (s *Scope) free() {
	handles := make([]C.lt_tensor, len(s.owned))
	for i, h := range s.owned {
		handles[i] = C.lt_tensor(*h)
		*h = nil
	}
	C.lt_delete(unsafe.SliceData(handles), C.int64_t(len(handles)))
	s.owned = nil
}

// defined reports whether t can be used.
func defined(t Tensor) bool { return t.T != nil && *t.T != nil }

func c(t Tensor) C.lt_tensor { return C.lt_tensor(*t.T) }
