package trainer

import (
	"context"
	"runtime"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/report"
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

// Evaluation is what a network gives on the test images.
type Evaluation struct {
	// Weights says where the weights came from: the URI of a checkpoint, or a path.
	Weights string `json:"weights,omitempty"`
	// Images is their number.
	Images int `json:"images"`
	// Loss is the mean cross-entropy; Top1 the share, in [0, 1], of images whose largest logit is that of their class.
	Loss float64 `json:"loss"`
	Top1 float64 `json:"top1"`
	// Top5 is the share of images whose class is among the five largest logits; nil with five classes or fewer.
	Top5 *float64 `json:"top5,omitempty"`
	// FlipTTA is Top1 of the logits averaged over an image and its mirror image; nil if not asked for.
	FlipTTA *float64 `json:"flipTTA,omitempty"`
	// Classes are the names of the classes. Confusion is nil on validation images, and with more than 4096 outputs.
	Classes   []string         `json:"classes"`
	Confusion report.Confusion `json:"confusion"`
}

// ClassAccuracy is, for each class, the share of its images that are recognised; 0 for a class without images.
func (e *Evaluation) ClassAccuracy() []float64 {
	accuracy := make([]float64, len(e.Confusion))
	for i, row := range e.Confusion {
		var n int64
		for _, count := range row {
			n += count
		}
		accuracy[i] = float64(row[i]) / float64(max(1, n))
	}
	return accuracy
}

// Evaluate tests trained weights of a job on its test images, as training does after every epoch. It writes nothing and
// does not disturb a running job.
//
// Errors: exit code 64 if there are no such weights or they do not fit the job, and those of packages data and store.
func Evaluate(ctx context.Context, job *v1.ResNetTrainingJob, opts EvaluateOptions) (*Evaluation, error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	r := newRun(job)
	if err := r.loadData(ctx, opts.CacheDir); err != nil {
		return nil, err
	}
	images := &r.data.Test
	if opts.Validation {
		if images = &r.data.Validation; images.N == 0 {
			return nil, exit.Errorf(contract.ExitConfig, "there are no validation images: spec.dataset.validationFraction is 0, and the data set has none of its own")
		}
	}
	weights, err := loadWeights(ctx, job, opts.Weights)
	if err != nil {
		return nil, err
	}
	t, err := newTester(job, inputOf(r.data), weights)
	if err != nil {
		return nil, err
	}
	t.flip = t.flip || opts.FlipTTA
	t.confusion = true
	t.progress = opts.Progress
	e, err := t.test(ctx, images)
	if err == nil {
		e.Weights = weights.source
	}
	return e, err
}

// evaluated is what the evaluation behind an epoch gives; validation is nil without validation images.
type evaluated struct{ test, validation *Evaluation }

// evaluate tests the network on the test and the validation images.
func (r *run) evaluate(ctx context.Context) (e evaluated, err error) {
	r.setPhase(contract.PhaseEvaluating)
	t := r.tester()
	t.confusion = true // for the report, should this be the last epoch
	if e.test, err = t.test(ctx, &r.data.Test); err != nil {
		return e, err
	}
	r.lastTest = e.test
	if !finite(e.test.Loss) {
		return e, r.diverged("the test loss", e.test.Loss, r.meta.Step, "")
	}
	if r.data.Validation.N > 0 {
		t.flip, t.confusion = false, false
		if e.validation, err = t.test(ctx, &r.data.Validation); err != nil {
			return e, err
		}
		if !finite(e.validation.Loss) {
			return e, r.diverged("the validation loss", e.validation.Loss, r.meta.Step, "")
		}
	}
	return e, nil
}

// tester of the network of a run.
func (r *run) tester() *tester {
	return &tester{model: r.tested(), device: r.device, dtype: r.dtype, input: inputOf(r.data), flip: r.spec.Evaluation.FlipTTA}
}
