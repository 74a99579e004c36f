package trainer

import (
	"context"
	"errors"
	"image"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// PredictOptions are the circumstances of a prediction.
type PredictOptions struct {
	Weights
	// TopK is the number of classes that are returned for each image; 0 means 5, or all if there are fewer.
	TopK int
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
}

// ClassProbability is one line of a prediction.
type ClassProbability struct {
	// Index of the class, from 0, and its name.
	Index int    `json:"index"`
	Class string `json:"class"`
	// Probability is the softmax of the logits, in [0, 1].
	Probability float64 `json:"probability"`
}

// Predict returns for each image its most probable classes, the most probable first. Images may have any size: they are
// resized and cut as those of an ImageFolder, to the size that the network was trained with.
//
// Errors: as of Evaluate.
func Predict(ctx context.Context, job *v1.ResNetTrainingJob, images []image.Image, opts PredictOptions) ([][]ClassProbability, error) {
	return nil, errors.ErrUnsupported
}
