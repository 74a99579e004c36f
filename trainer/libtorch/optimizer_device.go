package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"errors"
	"runtime"
	"unsafe"
)

// deviceOptimizer is an optimiser in one pass over the memory of a GPU. Its steps can be captured: they are counted on the GPU,
// and their rate is read there.
type deviceOptimizer struct {
	params *Parameters
	steps  Tensor // Int64: without those skipped
	names  []string
	state  [][]Tensor // of each name
	c      [][]C.lt_tensor
	update func(o *deviceOptimizer, rate, foundInf C.lt_tensor) C.lt_message
}

// errNoRate: the steps of an optimiser on a GPU need Rate.Device.
var errNoRate = errors.New("libtorch: the rate of this optimiser must be on the device")

func newDeviceOptimizer(params *Parameters, names []string, update func(o *deviceOptimizer, rate, foundInf C.lt_tensor) C.lt_message) (*deviceOptimizer, error) {
	o := &deviceOptimizer{params: params, names: names, update: update}
	for range names {
		state, err := params.zerosLike()
		if err != nil {
			return nil, err
		}
		o.state, o.c = append(o.state, state), append(o.c, handles(state))
	}
	err := Do(func(s *Scope) { o.steps = s.Keep(s.Zeros([]int64{1}, Int64, CUDA)) })
	return o, err
}

// NewDeviceAdamW returns torch.optim.AdamW for params on a GPU for which HasKernels is true.
func NewDeviceAdamW(params *Parameters, beta2, eps float64) (Optimizer, error) {
	return newDeviceOptimizer(params, []string{"exp_avg", "exp_avg_sq"}, func(o *deviceOptimizer, rate, foundInf C.lt_tensor) C.lt_message {
		p, options := o.params.c()
		return C.lt_device_adamw(p, unsafe.SliceData(o.c[0]), unsafe.SliceData(o.c[1]), options, o.params.n(), rate, C.double(beta2), C.double(eps),
			foundInf, c(o.steps))
	})
}

// NewDeviceSGD returns torch.optim.SGD likewise.
func NewDeviceSGD(params *Parameters, dampening float64, nesterov bool) (Optimizer, error) {
	return newDeviceOptimizer(params, []string{"momentum_buffer"}, func(o *deviceOptimizer, rate, foundInf C.lt_tensor) C.lt_message {
		p, options := o.params.c()
		return C.lt_device_sgd(p, unsafe.SliceData(o.c[0]), options, o.params.n(), rate, C.double(dampening), C.bool(nesterov), foundInf, c(o.steps))
	})
}

// Step implements Optimizer.
func (o *deviceOptimizer) Step(s *Scope, rate Rate, foundInf Tensor) {
	if !defined(rate.Device) {
		s.fail(errNoRate)
		return
	}
	s.do("optimizer", func() C.lt_message {
		var found C.lt_tensor
		if defined(foundInf) {
			found = c(foundInf)
		}
		return o.update(o, c(rate.Device), found)
	}, rate.Device)
	runtime.KeepAlive(o)
	runtime.KeepAlive(foundInf)
}

// State implements Optimizer.
func (o *deviceOptimizer) State() map[string][]Tensor {
	m := map[string][]Tensor{}
	for i, name := range o.names {
		m[name] = o.state[i]
	}
	return m
}

// Steps implements Optimizer.
func (o *deviceOptimizer) Steps() (int64, error) {
	n, err := Values[int64](o.steps)
	if err != nil {
		return 0, err
	}
	return n[0], nil
}

// SetSteps implements Optimizer.
func (o *deviceOptimizer) SetSteps(n int64) error { return Upload(o.steps, []int64{n}) }
