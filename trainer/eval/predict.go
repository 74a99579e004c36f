package eval

import (
	"cmp"
	"context"
	"image"
	"iter"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// ClassProbability is one line of a prediction.
type ClassProbability struct {
	// Index of the class, from 0, and its name.
	Index int    `json:"index"`
	Class string `json:"class"`
	// Probability is the softmax of the logits, in [0, 1].
	Probability float64 `json:"probability"`
}

// Predict returns for each image its k most probable classes, the most probable first. Images may have any size: they
// are brought to that of the images that the network was trained with (data.Picture). It ends with the first error of
// images.
func (t *Tester) Predict(ctx context.Context, images iter.Seq2[image.Image, error], format v1.DatasetFormat,
	k int) ([][]ClassProbability, error) {
	var predictions [][]ClassProbability
	for pixels, err := range t.pictures(images, format) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		rows, err := t.probabilities(pixels)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			predictions = append(predictions, t.top(row, k))
		}
	}
	return predictions, nil
}

// pictures yields the pixels of batches of images.
func (t *Tester) pictures(images iter.Seq2[image.Image, error], format v1.DatasetFormat) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var pixels []byte
		n := 0
		for im, err := range images {
			if err != nil {
				yield(nil, err)
				return
			}
			pixels = append(pixels, data.Picture(im, format, t.Input.Resize, t.Input.Height, t.Input.Width, t.Input.Channels)...)
			if n++; n%t.BatchSize == 0 {
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
func (t *Tester) probabilities(pixels []byte) (rows [][]float64, err error) {
	n := len(pixels) / (t.Input.Height * t.Input.Width * t.Input.Channels)
	err = libtorch.Do(func(s *libtorch.Scope) {
		s.NoGrad(func() {
			x := s.Images(pixels, n, t.Input.Height, t.Input.Width, t.Input.Mean, t.Input.Std, t.Device)
			p := s.Softmax(t.logits(s, x))
			if s.Err() != nil {
				return
			}
			values, err := libtorch.Values[float64](p)
			s.Fail(err)
			rows = slices.Collect(slices.Chunk(values, t.Net.Config.Classes))
		})
	})
	return rows, err
}

// top returns the k most probable classes, in falling order.
func (t *Tester) top(probabilities []float64, k int) []ClassProbability {
	var all []ClassProbability
	for i, p := range probabilities {
		c := ClassProbability{Index: i, Probability: p}
		if i < len(t.Input.Classes) {
			c.Class = t.Input.Classes[i]
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b ClassProbability) int { return cmp.Compare(b.Probability, a.Probability) })
	return all[:min(k, len(all))]
}
