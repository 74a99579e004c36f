package trainer

import (
	"math"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// recipe is a TrainingSpec whose optional fields have the defaults that depend on other fields.
type recipe struct {
	spec      v1.TrainingSpec
	epochs    int32
	lr        float64
	momentum  float64 // AdamW: beta1
	dampening float64
	nesterov  bool
	schedule  v1.ScheduleSpec
}

func resolve(spec v1.TrainingSpec) recipe {
	o, s := spec.Optimizer, spec.Schedule
	r := recipe{spec: spec, epochs: spec.Epochs, schedule: s}
	if o.Type == v1.SGD {
		r.lr, r.momentum, r.dampening = value(o.LR, 0.1), value(o.Momentum, 0.9), value(o.Dampening, 0)
		r.nesterov = value(o.Nesterov, r.momentum > 0 && r.dampening == 0)
	} else {
		r.lr, r.momentum = value(o.LR, 0.001), o.Betas[0]
	}
	for _, d := range []struct {
		field    **float64
		fallback float64
	}{
		{&r.schedule.PctStart, 0.3}, {&r.schedule.BaseMomentum, 0.85}, {&r.schedule.MaxMomentum, 0.95},
		{&r.schedule.MinLR, 0}, {&r.schedule.Gamma, 0.1}, {&r.schedule.WarmupStartFactor, 0.01},
	} {
		*d.field = new(value(*d.field, d.fallback))
	}
	r.schedule.CycleMomentum = new(value(s.CycleMomentum, true))
	r.schedule.ThreePhase = new(value(s.ThreePhase, false))
	return r
}

// averageDecay is the decay of the average of the weights behind a step, counted from 0: that of timm's ModelEmaV3 with
// use_warmup. The first step makes the average the weights, so that it forgets the initial ones.
func averageDecay(decay float64, step int64) float64 {
	return min(decay, 1-math.Pow(float64(1+step), -2./3))
}

// value is *p, or fallback where p is nil.
func value[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
