package trainer

import (
	"cmp"
	"context"
	"image"
	"image/color"
	"runtime"
	"slices"

	"golang.org/x/image/draw"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
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

// Predict returns for each image its most probable classes, the most probable first. Images may have any size: the
// shorter side is resized to that of the images that the network was trained with, and the centre is cut out.
//
// Errors: as of Evaluate.
func Predict(ctx context.Context, job *v1.ResNetTrainingJob, images []image.Image, opts PredictOptions) ([][]ClassProbability, error) {
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
	for batch := range slices.Chunk(images, evalBatch) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := t.probabilities(batch)
		if err != nil {
			return nil, err
		}
		for _, row := range p {
			predictions = append(predictions, t.top(row, cmp.Or(opts.TopK, 5)))
		}
	}
	return predictions, nil
}

// probabilities of all outputs of the network, for each image.
func (t *tester) probabilities(images []image.Image) (rows [][]float64, err error) {
	var pixels []byte
	for _, im := range images {
		pixels = append(pixels, fit(im, t.input.Height, t.input.Width, t.input.Channels)...)
	}
	err = libtorch.Do(func(s *libtorch.Scope) {
		s.NoGrad(func() {
			x := s.Images(pixels, len(images), t.input.Height, t.input.Width, t.input.Mean, t.input.Std, t.device)
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

// fit resizes the shorter side of an image, bilinearly and with antialiasing, and cuts out the centre, as torchvision's
// Resize and CenterCrop. It returns height×width×channels bytes.
func fit(im image.Image, height, width, channels int) []byte {
	b := im.Bounds()
	scale := max(float64(height)/float64(b.Dy()), float64(width)/float64(b.Dx()))
	h, w := max(height, int(float64(b.Dy())*scale)), max(width, int(float64(b.Dx())*scale))
	resized := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.BiLinear.Scale(resized, resized.Bounds(), im, b, draw.Src, nil)
	top, left := (h-height)/2, (w-width)/2
	out := make([]byte, 0, height*width*channels)
	for y := range height {
		for x := range width {
			p := resized.RGBAAt(left+x, top+y)
			if channels == 3 {
				out = append(out, p.R, p.G, p.B)
			} else {
				out = append(out, color.GrayModel.Convert(p).(color.Gray).Y)
			}
		}
	}
	return out
}
