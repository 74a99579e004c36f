package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// ProcessGroup are the processes of a training, for operations that are of all of them.
type ProcessGroup struct{ sum cgo.Handle }

// NewProcessGroup returns the group whose sums sum makes: it replaces numbers by their sums over all processes, in all
// of them the same bits. It is called in forward and backward, on their goroutine; the operation has its error then.
func NewProcessGroup(sum func(numbers []float64) error) *ProcessGroup {
	return &ProcessGroup{cgo.NewHandle(sum)} // autograd may keep it: it stays
}

// handle is 0 for a process on its own.
func (g *ProcessGroup) handle() C.uintptr_t {
	if g == nil {
		return 0
	}
	return C.uintptr_t(g.sum)
}

//export lt_all_reduce
func lt_all_reduce(group C.uintptr_t, numbers *C.double, n C.int64_t) C.lt_message {
	sum := cgo.Handle(group).Value().(func([]float64) error)
	if err := sum(unsafe.Slice((*float64)(numbers), n)); err != nil {
		return C.lt_message(C.CString(err.Error()))
	}
	return nil
}
