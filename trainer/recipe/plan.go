package recipe

import (
	"math"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// Plan is the recipe of a job, for a number of images.
type Plan struct {
	Recipe
	StepsPerEpoch int
	SaveEvery     int32 // epochs

	schedule schedule
	plateau  plateau
	freezeAt int64 // the step at which statistics of normalisations freeze; never is the number of steps
	phases   phases
	thawAt   int64 // the step from which on all parts are trained
}

// Point is what a step of the optimiser needs to know of its place in the training.
type Point struct {
	LR, Momentum float64 // Momentum of AdamW: beta1
	// Decay of the average of the weights; 0 without one.
	Decay float64
	// Frozen says that statistics of normalisations do not move any more.
	Frozen bool
	// PartsFrozen says that the parts of spec.training.freeze are not trained.
	PartsFrozen bool
	// Quantized says that weights and activations are fake-quantised, Observing that the ranges of those move.
	Quantized, Observing bool
}

// NewPlan plans the training of a job with so many images.
//
// Errors have exit code 64: the recipe contradicts itself or the data.
func NewPlan(spec *v1.ResNetTrainingJobSpec, trainImages, validationImages int) (*Plan, error) {
	t := spec.Training
	if int(t.BatchSize) > trainImages {
		return nil, exit.Errorf(contract.ExitConfig,
			"spec.training.batchSize is %d, but there are %d training images: set it to %d or less",
			t.BatchSize, trainImages, trainImages)
	}
	if parts := t.GradientAccumulationSteps; parts > 1 && (t.BatchSize%parts != 0 || t.BatchSize/parts < 2) {
		return nil, exit.Errorf(contract.ExitConfig, "spec.training.batchSize is %d, which cannot be divided into %d parts "+
			"(gradientAccumulationSteps) of the same number of images, at least 2: set it to %d, for example",
			t.BatchSize, parts, max(t.BatchSize/parts, 2)*parts)
	}
	for _, user := range []struct {
		field string
		set   bool
	}{
		{"spec.training.earlyStopping", t.EarlyStopping != nil},
		{"spec.training.schedule.type ReduceLROnPlateau", t.Schedule.Type == v1.ReduceLROnPlateau},
	} {
		if user.set && validationImages == 0 {
			return nil, exit.Errorf(contract.ExitConfig, "%s needs images to validate on: set "+
				"spec.dataset.validationFraction, for example to 0.1, or give an ImageFolder val/ beside test/", user.field)
		}
	}
	p := &Plan{Recipe: Resolve(t), StepsPerEpoch: trainImages / int(t.BatchSize),
		SaveEvery: max(1, spec.Checkpoint.EveryEpochs)}
	if err := p.checkFineTuning(); err != nil {
		return nil, err
	}
	p.thawAt = p.unfreezeAt(p.StepsPerEpoch)
	p.freezeAt = p.Steps()
	if spec.Model.Normalization == v1.TinyBatchNorm {
		p.freezeAt = p.after(value(spec.Model.FreezeStatisticsAfter, 0.75))
	}
	var err error
	if p.phases, err = newPhases(spec, p); err != nil {
		return nil, err
	}
	p.plateau = plateau{spec: p.Schedule, first: p.LR, lr: p.LR}
	p.schedule, err = newSchedule(p.Recipe, p.StepsPerEpoch, &p.plateau)
	return p, err
}

// after is the first step behind a share of all steps.
func (p *Plan) after(share float64) int64 { return int64(math.Ceil(share * float64(p.Steps()))) }

// Steps of the whole training.
func (p *Plan) Steps() int64 { return int64(p.Epochs) * int64(p.StepsPerEpoch) }

// Parts is the number of parts in which a process works on its images of a step.
func (p *Plan) Parts() int { return max(1, int(p.GradientAccumulationSteps)) }

// At says what a step, counted from 0, is made with.
func (p *Plan) At(step int64) Point {
	lr, momentum := p.schedule(step)
	at := Point{LR: lr, Momentum: momentum, Frozen: step >= min(p.freezeAt, p.phases.freezeAt),
		PartsFrozen: step < p.thawAt,
		Quantized:   step >= p.phases.startAt, Observing: step >= p.phases.startAt && step < p.phases.freezeAt}
	if p.EMA != nil {
		at.Decay = averageDecay(*p.EMA.Decay, step)
	}
	return at
}

// averageDecay is the decay of the average of the weights behind a step, counted from 0: that of timm's ModelEmaV3 with
// use_warmup. The first step makes the average the weights, so that it forgets the initial ones.
func averageDecay(decay float64, step int64) float64 {
	return min(decay, 1-math.Pow(float64(1+step), -2./3))
}

// Tests reports whether the network is tested after an epoch, counted from 1.
func (p *Plan) Tests(epoch int32) bool {
	return epoch%max(1, p.Evaluation.EveryEpochs) == 0 || epoch == p.Epochs
}

// Stops reports whether training has stopped to improve (spec.training.earlyStopping), and for how many epochs it has
// not improved: of those that were tested.
func (p *Plan) Stops(history []checkpoint.EpochMetrics) (stops bool, epochs int32) {
	if p.EarlyStopping == nil {
		return false, 0
	}
	epochs = epochsWithoutImprovement(*p.EarlyStopping, p.phases.counted(contract.TestedEpochs(history)))
	return epochs >= p.EarlyStopping.Patience, epochs
}

func epochsWithoutImprovement(spec v1.EarlyStoppingSpec, history []checkpoint.EpochMetrics) (since int32) {
	var best float64
	for i, m := range history {
		now := m.Score()
		if spec.Metric == v1.StopOnLoss {
			now = -m.Loss()
		}
		since++
		if i == 0 || now > best+spec.MinDelta {
			best, since = now, 0
		}
	}
	return since
}

// Finite reports whether a number of a training is one: if not, it has Diverged.
func Finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Diverged is the end of a training whose numbers are not finite any more: what they are, at a step counted from 1, and
// in which layer or parameter, if that is known.
func (p *Plan) Diverged(what string, value float64, step int64, where string) error {
	field, lr := "spec.training.optimizer.lr", p.LR
	if p.Schedule.Type == v1.OneCycle {
		field, lr = "spec.training.schedule.maxLR", p.Schedule.MaxLR
	}
	if where != "" {
		where = ", first in " + where
	}
	return exit.Errorf(contract.ExitDiverged,
		"%s is %v at step %d of %d (epoch %d)%s: the training diverged; lower %s (now %g)",
		what, value, step, p.Steps(), (step-1)/int64(p.StepsPerEpoch)+1, where, field, lr)
}
