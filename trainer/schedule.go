package trainer

import (
	"math"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// oneCycle is torch.optim.lr_scheduler.OneCycleLR with its defaults (Smith and Topin, 2017): in the first PctStart of
// all steps the learning rate rises from MaxLR/DivFactor to MaxLR while momentum, which is AdamW's beta1, falls from
// 0.95 to 0.85; then both go back along a cosine, the learning rate to MaxLR/DivFactor/FinalDivFactor.
type oneCycle struct {
	maxLR, initialLR, minLR float64
	peak, last              float64 // the steps at which the phases end
}

const baseMomentum, maxMomentum = 0.85, 0.95

func newOneCycle(spec v1.ScheduleSpec, steps int64) oneCycle {
	initial := spec.MaxLR / spec.DivFactor
	return oneCycle{
		maxLR: spec.MaxLR, initialLR: initial, minLR: initial / spec.FinalDivFactor,
		peak: *spec.PctStart*float64(steps) - 1, last: float64(steps - 1),
	}
}

// at returns the learning rate and beta1 of a step, counted from 0.
func (c oneCycle) at(step int64) (lr, beta1 float64) {
	now := float64(step)
	if now <= c.peak {
		pct := share(now, 0, c.peak)
		return cosine(c.initialLR, c.maxLR, pct), cosine(maxMomentum, baseMomentum, pct)
	}
	pct := share(now, c.peak, c.last)
	return cosine(c.maxLR, c.minLR, pct), cosine(baseMomentum, maxMomentum, pct)
}

// share is how far x is from begin to end. A phase of no length is at its end, where PyTorch divides by zero.
func share(x, begin, end float64) float64 {
	if begin == end {
		return 1
	}
	return (x - begin) / (end - begin)
}

// cosine goes from a to b as x goes from 0 to 1.
func cosine(a, b, x float64) float64 { return b + (a-b)/2*(math.Cos(math.Pi*x)+1) }
