package recipe

import (
	"math"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// plateau is the learning rate of torch.optim.lr_scheduler.ReduceLROnPlateau. It follows from the history of the training,
// which every checkpoint holds.
type plateau struct {
	spec   v1.ScheduleSpec // resolved
	first  float64
	warmup int64   // steps; epochs that end in it do not count
	lr     float64 // of the current epoch
}

// plateauEps is the least reduction that is made, PyTorch's eps.
const plateauEps = 1e-8

// follow computes the learning rate behind a history.
func (p *plateau) follow(history []checkpoint.EpochMetrics) {
	p.lr = p.first
	best, bad, cooldown := math.Inf(-1), int32(0), int32(0)
	for _, m := range history {
		now, tested := p.value(m)
		if !tested || m.Step <= p.warmup {
			continue
		}
		bad++
		if p.better(now, best) {
			best, bad = now, 0
		}
		if cooldown > 0 {
			cooldown--
			bad = 0
		}
		if bad > *p.spec.Patience {
			if lower := max(p.lr**p.spec.Factor, *p.spec.MinLR); p.lr-lower > plateauEps {
				p.lr = lower
			}
			cooldown, bad = *p.spec.Cooldown, 0
		}
	}
}

// value of an epoch, which shall rise; false if the epoch was not tested.
func (p *plateau) value(m checkpoint.EpochMetrics) (float64, bool) {
	switch {
	case m.ValidationLoss == nil || m.ValidationAccuracy == nil:
		return 0, false
	case p.spec.Metric == v1.StopOnAccuracy:
		return *m.ValidationAccuracy, true
	}
	return -*m.ValidationLoss, true
}

// better reports whether a value is more than the best one so far by the threshold. A loss, which is negative here, has to
// fall by a share of itself, an accuracy to rise.
func (p *plateau) better(now, best float64) bool {
	threshold := *p.spec.Threshold
	if p.spec.ThresholdMode != v1.ThresholdAbs && !math.IsInf(best, 0) {
		threshold *= math.Abs(best)
	}
	return now > best+threshold
}

// Follow tells the plan of the epochs that are done, before the next one begins: a schedule of type ReduceLROnPlateau goes by
// them.
func (p *Plan) Follow(history []checkpoint.EpochMetrics) { p.plateau.follow(history) }
