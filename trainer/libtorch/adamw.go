package libtorch

// #include "libtorch.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// AdamW is torch.optim.AdamW. Its state is in the open, so that it can be saved: moments in the order and with the
// shapes of the parameters, and the number of steps.
type AdamW struct {
	Params               []Tensor
	ExpAvg, ExpAvgSq     []Tensor
	Steps                int64
	Beta2                float64
	Eps, WeightDecay     float64
	params, avgs, avgSqs []C.lt_tensor // the handles of the above, as C wants them
}

// NewAdamW returns an optimiser of params, which must not move any more.
func NewAdamW(params []Tensor, beta2, eps, weightDecay float64) (*AdamW, error) {
	o := &AdamW{Params: params, Beta2: beta2, Eps: eps, WeightDecay: weightDecay}
	err := Do(func(s *Scope) {
		for _, p := range params {
			o.ExpAvg = append(o.ExpAvg, s.Keep(s.ZerosLike(p)))
			o.ExpAvgSq = append(o.ExpAvgSq, s.Keep(s.ZerosLike(p)))
		}
	})
	if err != nil {
		return nil, err
	}
	o.params, o.avgs, o.avgSqs = handles(o.Params), handles(o.ExpAvg), handles(o.ExpAvgSq)
	return o, nil
}

// Step updates the parameters from their gradients, as PyTorch does at this lr and beta1, and drops the gradients.
func (o *AdamW) Step(s *Scope, lr, beta1 float64) {
	s.do("adamw", func() C.lt_message {
		return C.lt_adamw(unsafe.SliceData(o.params), unsafe.SliceData(o.avgs), unsafe.SliceData(o.avgSqs),
			C.int64_t(len(o.params)), C.int64_t(o.Steps+1), C.double(lr), C.double(beta1), C.double(o.Beta2),
			C.double(o.Eps), C.double(o.WeightDecay))
	})
	runtime.KeepAlive(o)
	if s.err == nil {
		o.Steps++
	}
}

func handles(ts []Tensor) []C.lt_tensor {
	hs := make([]C.lt_tensor, len(ts))
	for i, t := range ts {
		hs[i] = c(t)
	}
	return hs
}
