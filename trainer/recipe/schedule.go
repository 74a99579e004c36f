package recipe

import (
	"math"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// schedule gives the learning rate and momentum (AdamW: beta1) of a step, counted from 0.
type schedule func(step int64) (lr, momentum float64)

// newSchedule returns the schedule of a training of so many steps. The recipe must be resolved. on is what a schedule of type
// ReduceLROnPlateau reads.
func newSchedule(t Recipe, stepsPerEpoch int, on *plateau) (schedule, error) {
	spec, steps := t.Schedule, int64(t.Epochs)*int64(stepsPerEpoch)
	if spec.Type == v1.OneCycle {
		return newOneCycle(spec, steps, t.Momentum)
	}
	warmup := int64(math.Round(spec.WarmupEpochs * float64(stepsPerEpoch)))
	if warmup >= steps {
		return nil, exit.Errorf(contract.ExitConfig,
			"spec.training.schedule.warmupEpochs is %g, but the training has %d epochs: set it to less",
			spec.WarmupEpochs, t.Epochs)
	}
	after, err := newDescent(t, stepsPerEpoch, warmup, on)
	if err != nil {
		return nil, err
	}
	on.warmup = warmup
	return func(step int64) (float64, float64) {
		if step < warmup {
			begin := *spec.WarmupStartFactor
			return t.LR * (begin + (1-begin)*float64(step)/float64(warmup)), t.Momentum
		}
		return after(step - warmup), t.Momentum
	}, nil
}

// newDescent returns the learning rate by the step behind the warm-up.
func newDescent(t Recipe, stepsPerEpoch int, warmup int64, on *plateau) (func(step int64) float64, error) {
	spec, perEpoch := t.Schedule, int64(stepsPerEpoch)
	switch spec.Type {
	case v1.Cosine: // CosineAnnealingLR
		total := float64(int64(t.Epochs)*perEpoch - warmup)
		return func(step int64) float64 { return cosine(t.LR, *spec.MinLR, float64(step)/total) }, nil
	case v1.CosineWarmRestarts: // CosineAnnealingWarmRestarts, stepped by batches
		first, multiplier := int64(*spec.RestartEpochs)*perEpoch, int64(*spec.RestartMultiplier)
		return func(step int64) float64 {
			length := first
			for ; step >= length; length *= multiplier {
				step -= length
			}
			return cosine(t.LR, *spec.MinLR, float64(step)/float64(length))
		}, nil
	case v1.Polynomial: // PolynomialLR
		total := float64(int64(t.Epochs)*perEpoch - warmup)
		return func(step int64) float64 { return t.LR * math.Pow(1-float64(step)/total, *spec.Power) }, nil
	case v1.ReduceLROnPlateau:
		return func(int64) float64 { return on.lr }, nil
	case v1.Step: // MultiStepLR
		for _, m := range spec.Milestones {
			if m >= t.Epochs || int64(m)*perEpoch < warmup {
				return nil, exit.Errorf(contract.ExitConfig,
					"spec.training.schedule.milestones: %d is no epoch between the warm-up and the last one, %d", m,
					t.Epochs-1)
			}
		}
		return func(step int64) float64 {
			lr := t.LR
			for _, m := range spec.Milestones {
				if step+warmup >= int64(m)*perEpoch {
					lr *= *spec.Gamma
				}
			}
			return lr
		}, nil
	case v1.Constant:
		return func(int64) float64 { return t.LR }, nil
	}
	return nil, exit.Errorf(contract.ExitConfig, "spec.training.schedule.type: %q is not known", spec.Type)
}

// phase is a part of OneCycle: learning rate and momentum go from one value to another until step end.
type phase struct {
	end                      float64
	fromLR, toLR             float64
	fromMomentum, toMomentum float64
}

// newOneCycle returns torch.optim.lr_scheduler.OneCycleLR (Smith and Topin, 2017). momentum is that of the optimiser,
// which stays if the cycle does not move it.
func newOneCycle(spec v1.ScheduleSpec, steps int64, momentum float64) (schedule, error) {
	high, low := *spec.MaxMomentum, *spec.BaseMomentum
	if !*spec.CycleMomentum {
		high, low = momentum, momentum
	}
	initial, n := spec.MaxLR/spec.DivFactor, float64(steps)
	last := initial / spec.FinalDivFactor
	phases := []phase{
		{*spec.PctStart*n - 1, initial, spec.MaxLR, high, low},
		{n - 1, spec.MaxLR, last, low, high},
	}
	if *spec.ThreePhase {
		phases = []phase{
			phases[0],
			{2**spec.PctStart*n - 2, spec.MaxLR, initial, low, high},
			{n - 1, initial, last, high, high},
		}
	}
	if phases[0].end == 0 { // the first step is the peak, and PyTorch divides by zero
		return nil, exit.Errorf(contract.ExitConfig,
			"spec.training.schedule: with %d steps and pctStart %g the learning rate "+
				"of OneCycle has no step to rise in: train for more epochs, or set another pctStart", steps, *spec.PctStart)
	}
	anneal := cosine
	if spec.AnnealStrategy == v1.AnnealLinear {
		anneal = linear
	}
	return func(step int64) (lr, momentum float64) {
		now, begin, i := float64(step), 0.0, 0
		for ; i < len(phases)-1 && now > phases[i].end; i++ {
			begin = phases[i].end
		}
		p := phases[i]
		share := (now - begin) / (p.end - begin)
		return anneal(p.fromLR, p.toLR, share), anneal(p.fromMomentum, p.toMomentum, share)
	}, nil
}

// cosine goes from a to b as x goes from 0 to 1, linear likewise.
func cosine(a, b, x float64) float64 { return b + (a-b)/2*(math.Cos(math.Pi*x)+1) }
func linear(a, b, x float64) float64 { return (b-a)*x + a }
