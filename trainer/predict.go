package trainer

import (
	"cmp"
	"context"
	"image"
	"iter"
	"runtime"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
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
// brought to that of the images that the network was trained with (data.Picture). It ends with the first error of images.
//
// Errors: as of Evaluate.
func Predict(ctx context.Context, job *v1.ResNetTrainingJob, images iter.Seq2[image.Image, error], opts PredictOptions) ([][]ClassProbability, error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	w, err := loadWeights(ctx, job, opts.Weights)
	if err != nil {
		return nil, err
	}
	if w.input == nil { // a file from elsewhere: the data set tells
		r := newRun(job)
		if err := r.loadData(ctx, opts.CacheDir); err != nil {
			return nil, err
		}
		w.input = new(inputOf(r.data))
	}
	t, err := newTester(job, *w.input, w)
	if err != nil {
		return nil, err
	}
	var predictions [][]ClassProbability
	for batch, err := range t.pictures(images, job.Spec.Dataset.Format) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		rows, err := t.probabilities(batch)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			predictions = append(predictions, t.top(row, cmp.Or(opts.TopK, 5)))
		}
	}
	return predictions, nil
}

// pictures yields the pixels of batches of images.
func (t *tester) pictures(images iter.Seq2[image.Image, error], format v1.DatasetFormat) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var pixels []byte
		n := 0
		for im, err := range images {
			if err != nil {
				yield(nil, err)
				return
			}
			pixels = append(pixels, data.Picture(im, format, t.input.Height, t.input.Width, t.input.Channels)...)
			if n++; n%evalBatch == 0 {
				if !yield(pixels, nil) {
					return
				}
				pixels = pixels[:0]
			}
		}
		if len(pixels) > 0 {
			yield(pixels, nil)
		}
	}
}

// probabilities of all outputs of the network, for each image.
func (t *tester) probabilities(pixels []byte) (rows [][]float64, err error) {
	n := len(pixels) / (t.input.Height * t.input.Width * t.input.Channels)
	err = libtorch.Do(func(s *libtorch.Scope) {
		s.NoGrad(func() {
			x := s.Images(pixels, n, t.input.Height, t.input.Width, t.input.Mean, t.input.Std, t.device)
			p := s.Softmax(t.logits(s, x))
			if s.Err() != nil {
				return
			}
			values, err := libtorch.Values[float64](p)
			s.Fail(err)
			rows = slices.Collect(slices.Chunk(values, t.model.Config.Classes))
		})
	})
	return rows, err
}

// top returns the k most probable classes, in falling order.
func (t *tester) top(probabilities []float64, k int) []ClassProbability {
	var all []ClassProbability
	for i, p := range probabilities {
		c := ClassProbability{Index: i, Probability: p}
		if i < len(t.input.Classes) {
			c.Class = t.input.Classes[i]
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b ClassProbability) int { return cmp.Compare(b.Probability, a.Probability) })
	return all[:min(k, len(all))]
}
