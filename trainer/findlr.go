package trainer

import (
	"cmp"
	"context"
	"math"
	"runtime"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/step"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// FindLROptions are the arguments of a range test; zero values mean the defaults in brackets.
type FindLROptions struct {
	// MinLR [1e-7] and MaxLR [10] are the first and the last learning rate, Steps [100] the number of steps between.
	MinLR, MaxLR float64
	Steps        int
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
	// Progress, which may be nil, is told of every step as it is done.
	Progress func(p LRPoint, steps int)
}

// LRPoint is one step of a range test.
type LRPoint struct {
	// Step counts from 1.
	Step int     `json:"step"`
	LR   float64 `json:"lr"`
	// Loss is that of the step's batch, Smoothed its exponential moving average.
	Loss     float64 `json:"loss"`
	Smoothed float64 `json:"smoothed"`
}

// LRRange is the result of a range test.
type LRRange struct {
	Points []LRPoint `json:"points"`
	// Suggestion is the learning rate at which the smoothed loss falls most steeply; 0 if it never falls.
	Suggestion float64 `json:"suggestion"`
	// Diverged says that the test ended early, since the loss had exploded.
	Diverged bool `json:"diverged"`
}

// Constants of the range test, those of fastai and torch-lr-finder.
const (
	lrSmoothing = 0.05 // weight of a new loss in the average
	lrDiverged  = 5    // the smoothed loss over the best one so far at which the test ends
)

// FindLR makes the learning rate range test (Smith, 2017, https://arxiv.org/abs/1506.01186) with the network, data and
// optimiser of a job, with the weights that spec.resumeFrom names: the learning rate rises exponentially from step to step. It writes nothing.
//
// Errors: as of Run, and exit code 64 for a range that is none.
func FindLR(ctx context.Context, job *v1.ResNetTrainingJob, opts FindLROptions) (*LRRange, error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	opts.MinLR, opts.MaxLR, opts.Steps = cmp.Or(opts.MinLR, 1e-7), cmp.Or(opts.MaxLR, 10), cmp.Or(opts.Steps, 100)
	if opts.MinLR <= 0 || opts.MaxLR <= opts.MinLR || opts.Steps < 2 {
		return nil, exit.Errorf(contract.ExitConfig,
			"learning rates from %g to %g in %d steps: give 0 < least < largest and at least 2 steps", opts.MinLR,
			opts.MaxLR, opts.Steps)
	}
	t, err := prepare(ctx, job, nil, opts.CacheDir)
	if err != nil {
		return nil, err
	}
	if from := job.Spec.ResumeFrom; from != nil {
		weights := *from
		weights.WeightsOnly = true
		if err := (&run{training: t, log: telemetry.Log(ctx)}).startFrom(ctx, weights); err != nil {
			return nil, err
		}
	}
	steps, err := step.NewEager(t.state, t.inputs())
	if err != nil {
		return nil, err
	}
	result := &LRRange{}
	for epoch := int32(0); len(result.Points) < opts.Steps && !result.Diverged; epoch++ {
		for batch := range steps.Batches(ctx, epoch, 0) {
			if len(result.Points) == opts.Steps || result.Diverged {
				break
			}
			if err := t.rangeStep(steps, batch, opts, result); err != nil {
				return nil, err
			}
		}
		if err := cmp.Or(t.loader.Err(), ctx.Err()); err != nil {
			return nil, err
		}
	}
	result.Suggestion = steepest(result.Points)
	return result, nil
}

// rangeStep makes the next step of a range test.
func (t *training) rangeStep(steps step.Step, batch data.Batch, opts FindLROptions, result *LRRange) error {
	i := len(result.Points)
	at := t.plan.At(t.state.Step)
	at.LR, at.Momentum = opts.MinLR*math.Pow(opts.MaxLR/opts.MinLR, float64(i)/float64(opts.Steps-1)), t.plan.Momentum
	before := t.state.LossSum
	err := steps.Do(batch, at)
	if err == nil {
		err = readNumbers(t.state, steps, true)
	}
	if exit.Code(err) == contract.ExitDiverged {
		result.Diverged = true
		return nil
	}
	if err != nil {
		return err
	}
	t.state.Advance()
	p := LRPoint{Step: i + 1, LR: at.LR, Loss: t.state.LossSum - before}
	p.Smoothed = p.Loss
	if i > 0 {
		p.Smoothed = lrSmoothing*p.Loss + (1-lrSmoothing)*result.Points[i-1].Smoothed
	}
	result.Points = append(result.Points, p)
	best := p.Smoothed
	for _, q := range result.Points {
		best = min(best, q.Smoothed)
	}
	result.Diverged = p.Smoothed > lrDiverged*best
	if opts.Progress != nil {
		opts.Progress(p, opts.Steps)
	}
	return nil
}

// steepest is the learning rate at which the smoothed loss has its least gradient by the step: central differences, as
// numpy.gradient has them.
func steepest(points []LRPoint) (lr float64) {
	least := 0.0
	for i := range points {
		a, b := max(0, i-1), min(len(points)-1, i+1)
		if a == b {
			continue
		}
		if slope := (points[b].Smoothed - points[a].Smoothed) / float64(b-a); slope < least {
			least, lr = slope, points[i].LR
		}
	}
	return lr
}
