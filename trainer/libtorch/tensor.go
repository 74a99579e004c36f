package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"unsafe"

	torch "github.com/wangkuiyi/gotorch"
)

// DType is an at::ScalarType, as gotorch numbers them.
type DType int8

// The types in use.
const (
	Int32    = DType(torch.Int)
	Int64    = DType(torch.Long)
	Float16  = DType(torch.Half)
	BFloat16 = DType(torch.BFloat16)
	Float32  = DType(torch.Float)
	Float64  = DType(torch.Double)
)

// Full is torch.full.
func (s *Scope) Full(shape []int64, value float64, t DType, d Device) Tensor {
	return s.make("full", func(out *C.lt_tensor) C.lt_message {
		return C.lt_full((*C.int64_t)(unsafe.SliceData(shape)), C.int64_t(len(shape)), C.double(value), C.int(t), C.lt_device(d), out)
	})
}

// Zeros is torch.zeros.
func (s *Scope) Zeros(shape []int64, t DType, d Device) Tensor { return s.Full(shape, 0, t, d) }

// ZerosLike is torch.zeros_like, in the memory format of t and without gradient.
func (s *Scope) ZerosLike(t Tensor) Tensor { return s.zerosLike(t, -1) }

func (s *Scope) zerosLike(t Tensor, as DType) Tensor {
	return s.make("zeros_like", func(out *C.lt_tensor) C.lt_message { return C.lt_zeros_like(c(t), C.int(as), out) }, t)
}

// NewParameter returns a float32 tensor on the CPU, filled with value, that gradients are computed for.
func NewParameter(shape []int64, value float64) (p Tensor, err error) {
	err = Do(func(s *Scope) {
		p = s.Keep(s.Full(shape, value, Float32, CPU))
		s.Fail(RequiresGrad(p, true))
	})
	return p, err
}

// RequiresGrad is t.requires_grad_(yes), for a parameter.
func RequiresGrad(t Tensor, yes bool) error {
	return call("requires_grad", func() C.lt_message { return C.lt_requires_grad(c(t), C.bool(yes)) }, t)
}

// NewBuffer is NewParameter without gradient.
func NewBuffer(shape []int64, value float64) (b Tensor, err error) {
	err = Do(func(s *Scope) { b = s.Keep(s.Full(shape, value, Float32, CPU)) })
	return b, err
}

// AllFinite reports whether no element of t is infinite or not a number; on a device this waits.
func AllFinite(t Tensor) (bool, error) {
	var finite C.bool
	err := call("isfinite", func() C.lt_message { return C.lt_all_finite(c(t), &finite) }, t)
	return bool(finite), err
}

// Grad is t.grad.
func (s *Scope) Grad(t Tensor) Tensor {
	return s.make("grad", func(out *C.lt_tensor) C.lt_message { return C.lt_grad(c(t), out) }, t)
}

// Move brings t to a device, and a tensor of four dimensions to torch.channels_last, in place: t stays the parameter
// that modules and optimisers know.
func Move(t Tensor, d Device) error {
	return call("move", func() C.lt_message { return C.lt_move(c(t), C.lt_device(d), true) }, t)
}

// Bytes returns the content of t: little-endian, row-major whatever the memory format.
func Bytes(t Tensor) ([]byte, error) {
	n, err := size(t)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	return b, call("read", func() C.lt_message {
		return C.lt_read(c(t), unsafe.Pointer(unsafe.SliceData(b)), C.int64_t(n))
	}, t)
}

// SetBytes overwrites the content of t with b, laid out as Bytes returns it.
func SetBytes(t Tensor, b []byte) error {
	return call("write", func() C.lt_message {
		return C.lt_write(c(t), unsafe.Pointer(unsafe.SliceData(b)), C.int64_t(len(b)))
	}, t)
}

// Values returns the content of t, whose dtype must be T; on a device this waits for what is computing it.
func Values[T int32 | int64 | float32 | float64](t Tensor) ([]T, error) {
	b, err := Bytes(t)
	if err != nil {
		return nil, err
	}
	var one T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(one))), nil
}

// size of t in bytes.
func size(t Tensor) (int64, error) {
	var n, element C.int64_t
	err := call("numel", func() C.lt_message { return C.lt_numel(c(t), &n, &element) }, t)
	return int64(n * element), err
}

// call runs op, which makes no tensor, outside of a scope.
func call(name string, op func() C.lt_message, args ...Tensor) error {
	s := Scope{}
	s.do(name, op, args...)
	return s.err
}
