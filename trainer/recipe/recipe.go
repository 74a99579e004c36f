package recipe

import v1 "github.com/resnet-operator/resnet-operator/api/v1"

// Recipe is a TrainingSpec whose optional fields have the defaults that depend on other fields.
type Recipe struct {
	v1.TrainingSpec
	LR        float64
	Momentum  float64 // AdamW: beta1
	Dampening float64
	Nesterov  bool
	// Schedule has no field that is nil.
	Schedule v1.ScheduleSpec
}

// Resolve fills in those defaults.
func Resolve(spec v1.TrainingSpec) Recipe {
	o, s := spec.Optimizer, spec.Schedule
	r := Recipe{TrainingSpec: spec, Schedule: s}
	if o.Type == v1.SGD {
		r.LR, r.Momentum, r.Dampening = value(o.LR, 0.1), value(o.Momentum, 0.9), value(o.Dampening, 0)
		r.Nesterov = value(o.Nesterov, r.Momentum > 0 && r.Dampening == 0)
	} else {
		r.LR, r.Momentum = value(o.LR, 0.001), o.Betas[0]
	}
	for _, d := range []struct {
		field    **float64
		fallback float64
	}{
		{&r.Schedule.PctStart, 0.3}, {&r.Schedule.BaseMomentum, 0.85}, {&r.Schedule.MaxMomentum, 0.95},
		{&r.Schedule.MinLR, 0}, {&r.Schedule.Gamma, 0.1}, {&r.Schedule.WarmupStartFactor, 0.01},
		{&r.Schedule.Power, 1}, {&r.Schedule.Factor, 0.1}, {&r.Schedule.Threshold, 1e-4},
	} {
		*d.field = new(value(*d.field, d.fallback))
	}
	r.Schedule.CycleMomentum = new(value(s.CycleMomentum, true))
	r.Schedule.ThreePhase = new(value(s.ThreePhase, false))
	r.Schedule.RestartMultiplier = new(value(s.RestartMultiplier, 1))
	r.Schedule.Patience, r.Schedule.Cooldown = new(value(s.Patience, 10)), new(value(s.Cooldown, 0))
	r.Schedule.RestartEpochs = new(value(s.RestartEpochs, r.Epochs))
	return r
}

// WeightDecay of a parameter.
func (r *Recipe) WeightDecay(normOrBias bool) float64 {
	if normOrBias && !value(r.Optimizer.DecayNormAndBias, true) {
		return 0
	}
	return value(r.Optimizer.WeightDecay, 5e-4)
}

// value is *p, or fallback where p is nil.
func value[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
