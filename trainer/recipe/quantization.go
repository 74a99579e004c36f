package recipe

import (
	"math"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// phases of quantisation-aware training: in float before the step startAt, then fake-quantised, with ranges that move
// before the step freezeAt.
type phases struct{ startAt, freezeAt int64 }

const never = math.MaxInt64

// newPhases are those of a job; without quantisation they never begin.
//
// Errors have exit code 64.
func newPhases(spec *v1.ResNetTrainingJobSpec, p *Plan) (phases, error) {
	q, field := spec.Training.Quantization, "spec.training.quantization"
	if q == nil {
		return phases{never, never}, nil
	}
	start, freeze := value(q.StartAfter, defaultStart), value(q.FreezeObserversAfter, defaultFreeze)
	at := phases{p.after(start), p.after(freeze)}
	switch n, a := spec.Model.Normalization, spec.Model.Activation; {
	case spec.Training.Precision == v1.PrecisionFP16:
		return at, exit.Errorf(contract.ExitConfig,
			"%s needs spec.training.precision Auto, BF16 or FP32: FP16 does not hold the sums of integers", field)
	case n != "" && n != v1.BatchNorm && n != v1.TinyBatchNorm:
		return at, exit.Errorf(contract.ExitConfig, "%s needs spec.model.normalization BatchNorm or TinyBatchNorm, which can "+
			"be folded into a convolution, but it is %s", field, n)
	case a != "" && a != v1.ReLU && a != v1.LeakyReLU:
		return at, exit.Errorf(contract.ExitConfig,
			"%s needs spec.model.activation ReLU or LeakyReLU, of which there is an int8 form, but it is %s", field, a)
	case !(start < freeze):
		return at, exit.Errorf(contract.ExitConfig, "%s.freezeObserversAfter is %g, which must be more than startAfter, %g: "+
			"the ranges of activations are observed in between", field, freeze, start)
	case at.startAt >= at.freezeAt:
		return at, exit.Errorf(contract.ExitConfig, "%s has no step in which the ranges of activations are observed: of %d "+
			"steps it starts after %d and freezes after %d; set startAfter to less, or train for more epochs",
			field, p.Steps(), at.startAt, at.freezeAt)
	case q.CalibrationBatches < 1 && spec.Training.EMA != nil:
		return at, exit.Errorf(contract.ExitConfig, "%s.calibrationBatches is %d: the ranges of the average of the weights "+
			"(spec.training.ema) need images; set it to 1 or more", field, q.CalibrationBatches)
	}
	if freeze >= 1 {
		at.freezeAt = never
	}
	return at, nil
}

const defaultStart, defaultFreeze = 0.7, 0.9

// AveragingConstant of the ranges, with spec.training.quantization.
func (r *Recipe) AveragingConstant() float64 { return value(r.Quantization.AveragingConstant, 0.01) }

// Quantizes reports whether a network that has made so many steps has been quantised.
func (p *Plan) Quantizes(steps int64) bool { return steps > p.phases.startAt }

// counted are the epochs that early stopping looks at: with quantisation those that were tested with it, since the
// accuracy of others is of another network.
func (ph phases) counted(history []checkpoint.EpochMetrics) []checkpoint.EpochMetrics {
	if ph.startAt == never {
		return history
	}
	first := slices.IndexFunc(history, checkpoint.EpochMetrics.Quantized)
	if first < 0 {
		return nil
	}
	return history[first:]
}
