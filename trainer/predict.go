package trainer

import (
	"cmp"
	"context"
	"image"
	"iter"
	"runtime"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/eval"
)

// PredictOptions are the circumstances of a prediction.
type PredictOptions struct {
	Weights
	// TopK is the number of classes that are returned for each image; 0 means 5, or all if there are fewer.
	TopK int
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
}

// Predict returns for each image its most probable classes, as eval.Tester.Predict does.
//
// Errors: as of Evaluate.
func Predict(ctx context.Context, job *v1.ResNetTrainingJob, images iter.Seq2[image.Image, error],
	opts PredictOptions) ([][]eval.ClassProbability, error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	w, err := loadWeights(ctx, job, opts.Weights)
	if err != nil {
		return nil, err
	}
	if w.input == nil { // a file from elsewhere: the data set tells
		d, err := loadData(ctx, job, opts.CacheDir)
		if err != nil {
			return nil, err
		}
		w.input = new(inputOf(d))
	}
	t, err := newTester(job, *w.input, w)
	if err != nil {
		return nil, err
	}
	return t.Predict(ctx, images, job.Spec.Dataset.Format, cmp.Or(opts.TopK, 5))
}
