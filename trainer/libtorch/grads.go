package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// GradNorms are the 2-norms of the gradients of params, one float32 for each.
func (s *Scope) GradNorms(params *Parameters) Tensor {
	defer runtime.KeepAlive(params)
	return s.make("grad_norms", func(out *C.lt_tensor) C.lt_message {
		return C.lt_grad_norms(unsafe.SliceData(params.handles), params.n(), out)
	})
}

// Norm is the 2-norm of all elements of x; the norm of GradNorms is that of all gradients together.
func (s *Scope) Norm(x Tensor) Tensor {
	return s.make("norm", func(out *C.lt_tensor) C.lt_message { return C.lt_norm(c(x), out) }, x)
}

// ClipGradNorm is torch.nn.utils.clip_grad_norm_, given the norm of all gradients: it scales them down to maxNorm.
func (s *Scope) ClipGradNorm(params *Parameters, norm Tensor, maxNorm float64) {
	s.do("clip_grad_norm", func() C.lt_message {
		return C.lt_clip_grads(unsafe.SliceData(params.handles), params.n(), c(norm), C.double(maxNorm))
	}, norm)
	runtime.KeepAlive(params)
}

// Average is averages = decay·averages + (1 − decay)·weights, in place, with the decay of the step's rate.
func (s *Scope) Average(averages, weights []Tensor, rate Rate) {
	to, from := handles(averages), handles(weights)
	var device C.lt_tensor
	if defined(rate.Device) {
		device = c(rate.Device)
	}
	s.do("average", func() C.lt_message {
		return C.lt_average(unsafe.SliceData(to), unsafe.SliceData(from), C.int64_t(len(to)), C.double(rate.Decay), device)
	})
	runtime.KeepAlive(rate)
	runtime.KeepAlive(averages)
	runtime.KeepAlive(weights)
}

// GradScaler is torch.cuda.amp.GradScaler: it scales the loss so that gradients do not vanish in float16, skips the
// steps whose gradients overflow, and finds the largest scale at which they do not. Its state is on the device, so that
// no step waits for it.
type GradScaler struct {
	// Scale is a float32 scalar; GrowthTracker, Int32, the number of steps without overflow since Scale changed.
	Scale, GrowthTracker Tensor
	// FoundInf is 1 if the gradients of the last step overflowed, else 0: a float32 scalar.
	FoundInf Tensor
}

// The arguments of GradScaler, which PyTorch's users leave at their defaults.
const (
	initScale                   = 65536
	growthFactor, backoffFactor = 2, 0.5
	growthInterval              = 2000
)

// NewGradScaler returns a scaler with PyTorch's default arguments.
func NewGradScaler(d Device) (*GradScaler, error) {
	g := &GradScaler{}
	err := Do(func(s *Scope) {
		g.Scale = s.Keep(s.Full([]int64{1}, initScale, Float32, d))
		g.GrowthTracker = s.Keep(s.Zeros([]int64{1}, Int32, d))
		g.FoundInf = s.Keep(s.Zeros([]int64{1}, Float32, d))
	})
	return g, err
}

// ScaleLoss is GradScaler.scale.
func (g *GradScaler) ScaleLoss(s *Scope, loss Tensor) Tensor {
	return s.make("scale", func(out *C.lt_tensor) C.lt_message { return C.lt_scale(c(loss), c(g.Scale), out) }, loss)
}

// Unscale is GradScaler.unscale_: it divides the gradients by the scale and sets FoundInf.
func (g *GradScaler) Unscale(s *Scope, params *Parameters) {
	s.do("unscale", func() C.lt_message {
		return C.lt_amp_unscale(unsafe.SliceData(params.handles), params.n(), c(g.Scale), c(g.FoundInf))
	})
	runtime.KeepAlive(params)
	runtime.KeepAlive(g)
}

// Update is GradScaler.update: after a step.
func (g *GradScaler) Update(s *Scope) { g.update(s, growthInterval) }

func (g *GradScaler) update(s *Scope, interval int64) {
	s.do("update", func() C.lt_message {
		return C.lt_amp_update(c(g.Scale), c(g.GrowthTracker), c(g.FoundInf), growthFactor, backoffFactor, C.int64_t(interval))
	})
	runtime.KeepAlive(g)
}
