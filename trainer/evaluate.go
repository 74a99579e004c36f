package trainer

import (
	"context"
	"runtime"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/eval"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// EvaluateOptions are the circumstances of an evaluation.
type EvaluateOptions struct {
	Weights
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
	// Validation evaluates the held-out validation images in place of the test images.
	Validation bool
	// FlipTTA also averages the logits of every image and its mirror image, whatever the job says.
	FlipTTA bool
	// Progress, which may be nil, is told how many of all images are done.
	Progress func(done, total int)
}

// Evaluate tests trained weights of a job on its test images, as training does after every epoch. It writes nothing and
// does not disturb a running job.
//
// Errors: exit code 64 if there are no such weights or they do not fit the job, and those of packages data and store.
func Evaluate(ctx context.Context, job *v1.ResNetTrainingJob, opts EvaluateOptions) (*eval.Evaluation, error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	d, err := loadData(ctx, job, opts.CacheDir)
	if err != nil {
		return nil, err
	}
	images := &d.Test
	if opts.Validation {
		if images = &d.Validation; images.N == 0 {
			return nil, exit.Errorf(contract.ExitConfig,
				"there are no validation images: spec.dataset.validationFraction is 0, and the data set has none of "+
					"its own")
		}
	}
	weights, err := loadWeights(ctx, job, opts.Weights)
	if err != nil {
		return nil, err
	}
	t, err := newTester(job, inputOf(d), weights)
	if err != nil {
		return nil, err
	}
	flip := opts.FlipTTA || job.Spec.Training.Evaluation.FlipTTA
	e, err := t.Test(ctx, images, eval.Options{FlipTTA: flip, Confusion: true, Int8: weights.ranges != nil && job.Spec.Training.Quantization != nil, Progress: opts.Progress})
	if err == nil {
		e.Weights = weights.source
	}
	return e, err
}

// newTester makes the network of a job with given weights, where and in the precision in which the job trains.
func newTester(job *v1.ResNetTrainingJob, input checkpoint.Input, w *weights) (*eval.Tester, error) {
	t := &eval.Tester{Input: input, BatchSize: eval.BatchSize(job.Spec.Training.BatchSize)}
	config, err := arch.ConfigOf(job.Spec.Model, input.Height, input.Width, input.Channels, len(input.Classes))
	if err != nil {
		return nil, err
	}
	if t.Device, t.DType, err = chooseDevice(&job.Spec); err != nil {
		return nil, err
	}
	if t.Net, err = resnet.New(config, 0, t.Device); err != nil {
		return nil, err
	}
	if err := t.Net.LoadStateDict(w.model); err != nil {
		return nil, w.doNotFit(err)
	}
	q := job.Spec.Training.Quantization
	if w.ranges == nil || q == nil {
		return t, nil
	}
	if err := t.Net.Quantize(quant.Limit(q.ReduceRange), 0); err != nil {
		return nil, err
	}
	if err := t.Net.SetRanges(w.ranges); err != nil {
		return nil, w.doNotFit(err)
	}
	return t, nil
}

// test tests the network of a run on the test and the validation images, and enters what it finds into the record of an
// epoch.
func (r *run) test(ctx context.Context, m *checkpoint.EpochMetrics) error {
	r.rec.Phase(contract.PhaseEvaluating)
	t := eval.Tester{Net: r.state.Tested(), Device: r.device, DType: r.dtype, Input: r.state.Input,
		BatchSize: eval.BatchSize(r.plan.BatchSize), Group: r.group}
	if err := r.updateStatistics(ctx, &t); err != nil {
		return err
	}
	int8 := r.plan.Quantizes(r.state.Step)
	if int8 {
		if err := r.calibrateAverage(ctx, &t); err != nil {
			return err
		}
	}
	// Confusion matrix and predictions are for the report.
	e, err := t.Test(ctx, &r.data.Test, eval.Options{FlipTTA: r.plan.Evaluation.FlipTTA, Confusion: true, Predictions: true,
		Int8: int8})
	if err != nil {
		return err
	}
	r.tested = true
	r.rec.Tested(e)
	if !recipe.Finite(e.Loss) {
		return r.plan.Diverged("the test loss", e.Loss, r.state.Step, "")
	}
	m.TestLoss, m.Accuracy, m.Top5Accuracy, m.FlipTTAAccuracy = &e.Loss, &e.Top1, e.Top5, e.FlipTTA
	if e.Int8 != nil {
		m.Int8Accuracy, m.Int8Agreement = &e.Int8.Top1, &e.Int8.Agreement
	}
	if r.data.Validation.N == 0 {
		return nil
	}
	v, err := t.Test(ctx, &r.data.Validation, eval.Options{Int8: int8})
	if err != nil {
		return err
	}
	if !recipe.Finite(v.Loss) {
		return r.plan.Diverged("the validation loss", v.Loss, r.state.Step, "")
	}
	m.ValidationLoss, m.ValidationAccuracy = &v.Loss, &v.Top1
	if v.Int8 != nil {
		m.ValidationInt8Loss, m.ValidationInt8Accuracy = &v.Int8.Loss, &v.Int8.Top1
	}
	return nil
}

// updateStatistics computes the running statistics of the network that is tested anew, if the job wants it. What was frozen
// in the last step stays.
func (r *run) updateStatistics(ctx context.Context, t *eval.Tester) error {
	batches, last := int(r.plan.Evaluation.PreciseBNBatches), r.plan.At(r.state.Step-1)
	if batches == 0 || last.Frozen {
		return nil
	}
	if _, err := r.state.Trained(last.PartsFrozen); err != nil { // a run that was stopped here has made no step yet
		return err
	}
	im := &r.data.Train
	return t.UpdateStatistics(ctx, im, im.Sample(ctx, r.plan.Seed, t.BatchSize, batches))
}
