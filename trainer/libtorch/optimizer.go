package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Optimizer updates parameters from their gradients. Its state is in the open, so that it can be saved.
type Optimizer interface {
	// Step updates the parameters as PyTorch does, and drops the gradients. If foundInf is defined, a float32 scalar on the
	// device, the step is skipped where it is not 0, without waiting for it.
	Step(s *Scope, rate Rate, foundInf Tensor)
	// State are the optimiser's tensors by their names in PyTorch, in the order and with the shapes of the parameters.
	State() map[string][]Tensor
	// Steps is the number of steps made, without those skipped; on a device this waits.
	Steps() (int64, error)
	// SetSteps restores that number.
	SetSteps(n int64) error
}

// Rate is the learning rate and momentum (AdamW: beta1) of a step, and the decay of the average of the weights behind it.
type Rate struct {
	LR, Momentum, Decay float64
	// Device takes their place where kernels of our own run on a GPU: three float64 there.
	Device Tensor
}

// Parameters are the tensors that an optimiser updates. They must not move any more.
type Parameters struct {
	Tensors []Tensor
	handles []C.lt_tensor // of Tensors, as C wants them
	options []C.lt_param_options
}

// ParamOptions are what an optimiser knows of one parameter, as PyTorch's parameter groups do.
type ParamOptions struct {
	WeightDecay float64
	// LRMultiplier is the factor of the learning rate.
	LRMultiplier float64
}

// NewParameters returns tensors with the options of each.
func NewParameters(tensors []Tensor, options []ParamOptions) *Parameters {
	p := &Parameters{Tensors: tensors, handles: handles(tensors)}
	for _, o := range options {
		p.options = append(p.options,
			C.lt_param_options{weight_decay: C.double(o.WeightDecay), lr_multiplier: C.double(o.LRMultiplier)})
	}
	return p
}

// DropGrads is zero_grad(set_to_none=True).
func (p *Parameters) DropGrads() {
	C.lt_drop_grads(unsafe.SliceData(p.handles), p.n())
	runtime.KeepAlive(p)
}

func (p *Parameters) n() C.int64_t { return C.int64_t(len(p.handles)) }

// c returns the handles and the options.
func (p *Parameters) c() (*C.lt_tensor, *C.lt_param_options) {
	return unsafe.SliceData(p.handles), unsafe.SliceData(p.options)
}

// zerosLike returns zeros in the shapes of the parameters, to be kept.
func (p *Parameters) zerosLike() (zeros []Tensor, err error) {
	err = Do(func(s *Scope) {
		for _, t := range p.Tensors {
			zeros = append(zeros, s.Keep(s.ZerosLike(t)))
		}
	})
	return zeros, err
}

func handles(ts []Tensor) []C.lt_tensor {
	hs := make([]C.lt_tensor, len(ts))
	for i, t := range ts {
		hs[i] = c(t)
	}
	return hs
}

// counter counts the steps of an optimiser: those tried on the host, those skipped on the device.
type counter struct {
	tried   int64
	skipped Tensor // Int64 scalar; undefined until a step may be skipped
}

// next counts a step, which is the returned one from 1.
func (k *counter) next(s *Scope, foundInf Tensor) C.int64_t {
	if defined(foundInf) && !defined(k.skipped) {
		k.skipped = s.Keep(s.zerosLike(foundInf, Int64))
	}
	if s.err == nil {
		k.tried++
	}
	return C.int64_t(k.tried)
}

// Steps implements Optimizer.
func (k *counter) Steps() (int64, error) {
	if !defined(k.skipped) {
		return k.tried, nil
	}
	skipped, err := Values[int64](k.skipped)
	if err != nil {
		return 0, err
	}
	return k.tried - skipped[0], nil
}

// SetSteps implements Optimizer.
func (k *counter) SetSteps(n int64) error {
	k.tried = n
	if !defined(k.skipped) {
		return nil
	}
	return SetBytes(k.skipped, make([]byte, 8))
}

// AdamW is torch.optim.AdamW.
type AdamW struct {
	counter
	params             *Parameters
	expAvg, expAvgSq   []Tensor
	beta2, eps         float64
	cExpAvg, cExpAvgSq []C.lt_tensor
}

// NewAdamW returns an optimiser of params.
func NewAdamW(params *Parameters, beta2, eps float64) (o *AdamW, err error) {
	o = &AdamW{params: params, beta2: beta2, eps: eps}
	if o.expAvg, err = params.zerosLike(); err != nil {
		return nil, err
	}
	if o.expAvgSq, err = params.zerosLike(); err != nil {
		return nil, err
	}
	o.cExpAvg, o.cExpAvgSq = handles(o.expAvg), handles(o.expAvgSq)
	return o, nil
}

// State implements Optimizer.
func (o *AdamW) State() map[string][]Tensor {
	return map[string][]Tensor{"exp_avg": o.expAvg, "exp_avg_sq": o.expAvgSq}
}

// Step implements Optimizer.
func (o *AdamW) Step(s *Scope, rate Rate, foundInf Tensor) {
	params, options := o.params.c()
	avgs, avgSqs, step := unsafe.SliceData(o.cExpAvg), unsafe.SliceData(o.cExpAvgSq), o.next(s, foundInf)
	s.do("adamw", func() C.lt_message {
		if !defined(foundInf) {
			return C.lt_adamw(params, avgs, avgSqs, options, o.params.n(), step, C.double(rate.LR), C.double(rate.Momentum),
				C.double(o.beta2), C.double(o.eps))
		}
		return C.lt_adamw_unless(params, avgs, avgSqs, options, o.params.n(), step, C.double(rate.LR), C.double(rate.Momentum),
			C.double(o.beta2), C.double(o.eps), c(foundInf), c(o.skipped))
	})
	runtime.KeepAlive(o)
	runtime.KeepAlive(foundInf)
}

// SGD is torch.optim.SGD.
type SGD struct {
	counter
	params    *Parameters
	buffers   []Tensor
	dampening float64
	nesterov  bool
	cBuffers  []C.lt_tensor
}

// NewSGD returns an optimiser of params.
func NewSGD(params *Parameters, dampening float64, nesterov bool) (o *SGD, err error) {
	o = &SGD{params: params, dampening: dampening, nesterov: nesterov}
	if o.buffers, err = params.zerosLike(); err != nil {
		return nil, err
	}
	o.cBuffers = handles(o.buffers)
	return o, nil
}

// State implements Optimizer.
func (o *SGD) State() map[string][]Tensor { return map[string][]Tensor{"momentum_buffer": o.buffers} }

// Step implements Optimizer. The first one makes the momentum buffer the gradient, undampened.
func (o *SGD) Step(s *Scope, rate Rate, foundInf Tensor) {
	params, options := o.params.c()
	buffers, step := unsafe.SliceData(o.cBuffers), o.next(s, foundInf)
	s.do("sgd", func() C.lt_message {
		if !defined(foundInf) {
			return C.lt_sgd(params, buffers, options, o.params.n(), step == 1, C.double(rate.LR), C.double(rate.Momentum),
				C.double(o.dampening), C.bool(o.nesterov))
		}
		return C.lt_sgd_unless(params, buffers, options, o.params.n(), step, C.double(rate.LR), C.double(rate.Momentum),
			C.double(o.dampening), C.bool(o.nesterov), c(foundInf), c(o.skipped))
	})
	runtime.KeepAlive(o)
	runtime.KeepAlive(foundInf)
}
