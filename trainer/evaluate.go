package trainer

import (
	"context"
	"errors"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
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
	// Classes are the names of the classes; Confusion[i][j] counts the images of class i that are taken for class j.
	Classes   []string  `json:"classes"`
	Confusion [][]int64 `json:"confusion"`
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
	return nil, errors.ErrUnsupported
}
