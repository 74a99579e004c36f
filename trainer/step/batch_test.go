package step

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
)

const batchImages, batchSide, batchClasses = 6, 8, 5

// batchCase is how a batch is mixed and weighted.
type batchCase struct {
	Mix       map[string]any `json:"mix"` // of torchvision: its kind, and what it draws; nil: none
	Weights   []float64      `json:"weights"`
	Smoothing float64        `json:"smoothing"`
	mix       data.Mix
	parts     int
}

// TestBatches compares mixed images with torchvision's MixUp and CutMix on given random numbers, and the loss of mixed labels, with
// weights of classes and label smoothing, with PyTorch's CrossEntropyLoss; in parts, and with the numbers on a device.
func TestBatches(t *testing.T) {
	weights := []float64{0.5, 2, 1, 0.1, 3}
	mixUp := func(lambda float64) map[string]any { return map[string]any{"kind": "MixUp", "lambda": lambda} }
	cutMix := func(lambda float64, x, y int) map[string]any {
		return map[string]any{"kind": "CutMix", "lambda": lambda, "x": x, "y": y}
	}
	cases := map[string]batchCase{
		"plain":                   {Smoothing: 0.1},
		"weights":                 {Weights: weights},
		"weights, smoothed":       {Weights: weights, Smoothing: 0.2},
		"mixup":                   {Mix: mixUp(0.7), mix: data.Mix{Lambda: 0.7, Blend: 0.7}},
		"mixup, smoothed":         {Mix: mixUp(0.3), mix: data.Mix{Lambda: 0.3, Blend: 0.3}, Smoothing: 0.1},
		"mixup, weights":          {Mix: mixUp(0.3), mix: data.Mix{Lambda: 0.3, Blend: 0.3}, Weights: weights, Smoothing: 0.1},
		"cutmix":                  {Mix: cutMix(0.5, 4, 3), mix: data.CutMixBox(batchSide, batchSide, 0.5, 4, 3), Smoothing: 0.1},
		"cutmix at the border":    {Mix: cutMix(0.1, 7, 0), mix: data.CutMixBox(batchSide, batchSide, 0.1, 7, 0)},
		"cutmix of nothing":       {Mix: cutMix(0.999, 2, 2), mix: data.CutMixBox(batchSide, batchSide, 0.999, 2, 2)},
		"cutmix of a whole image": {Mix: cutMix(0, 4, 4), mix: data.CutMixBox(batchSide, batchSide, 0, 4, 4)},
	}
	for name, c := range cases {
		c.parts = 3
		cases[name+", in parts"] = c
	}
	rng := rand.New(rand.NewPCG(1, 2))
	images, logits := make([]float32, batchImages*3*batchSide*batchSide), make([]float32, batchImages*batchClasses)
	for _, values := range [][]float32{images, logits} {
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
	}
	labels := []int64{3, 1, 4, 0, 2, 1}
	want := pytorch.Call(t, "batches", map[string]any{"cases": cases}, checkpoint.StateDict{
		"images": pytorch.Pack(images, batchImages, 3, batchSide, batchSide), "logits": pytorch.Pack(logits, batchImages, batchClasses),
		"labels": pytorch.Pack(labels, batchImages),
	})
	for name, test := range cases {
		for _, onDevice := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", onDevice), func(t *testing.T) {
				gotImages, loss := test.compute(t, images, logits, labels, onDevice)
				pytorch.Compare(t, "images", gotImages, pytorch.Floats(want[name+".images"]), 0)
				pytorch.Compare(t, "loss", []float64{loss}, pytorch.Floats(want[name+".loss"]), 1e-6)
			})
		}
	}
}

// compute mixes images, and sums the losses of the parts.
func (b batchCase) compute(t *testing.T, images, logits []float32, labels []int64, onDevice bool) (mixed []float64, loss float64) {
	t.Helper()
	aug := v1.AugmentationSpec{}
	if b.Mix != nil {
		aug.MixUp = &v1.MixSpec{}
	}
	d := &data.Dataset{Train: data.Images{N: batchImages, H: batchSide, W: batchSide, C: 3, Labels: labels,
		Pixels: make([]byte, len(images))}, Mean: []float32{0, 0, 0}, Std: []float32{1, 1, 1}}
	loader, err := data.NewLoader(d, batchImages, aug, 0)
	must(t, err)
	plan := &recipe.Plan{Recipe: recipe.Recipe{TrainingSpec: v1.TrainingSpec{LabelSmoothing: b.Smoothing,
		GradientAccumulationSteps: int32(b.parts)}}}
	in := Inputs{Plan: plan, Loader: loader, Device: libtorch.CPU, ClassWeights: b.Weights}
	criterion, err := newCriterion(in, batchClasses)
	must(t, err)
	c := &core{Inputs: in, criterion: criterion}
	whole := data.Whole{Mix: b.mix}
	for _, label := range labels {
		if b.Weights != nil {
			whole.Weight += b.Weights[label]
		}
	}
	must(t, libtorch.Do(func(s *libtorch.Scope) {
		tensor := func(values []float32, shape ...int64) libtorch.Tensor {
			x := s.Zeros(shape, libtorch.Float32, libtorch.CPU)
			s.Fail(libtorch.Upload(x, values))
			return x
		}
		numbers := numbersOfBatch{Whole: whole}
		if onDevice {
			numbers = numbersOfBatch{device: s.Zeros([]int64{1, wholeColumns}, libtorch.Float64, libtorch.CPU)}
			s.Fail(libtorch.Upload(numbers.device, row(whole, 1)))
		}
		x := tensor(images, batchImages, 3, batchSide, batchSide)
		out := c.mix(s, c.batch(x, s.Labels(labels, libtorch.CPU), numbers))
		values, err := libtorch.Values[float32](out.images)
		s.Fail(err)
		for _, v := range values {
			mixed = append(mixed, float64(v))
		}
		all, parts := tensor(logits, batchImages, batchClasses), plan.Parts()
		for i := range parts {
			part := out
			if parts > 1 {
				part = out.part(s, i, parts)
			}
			value, err := libtorch.Values[float32](c.loss(s, s.Narrow(all, i*batchImages/parts, batchImages/parts), part))
			s.Fail(err)
			loss += float64(value[0])
		}
	}))
	if math.IsNaN(loss) {
		t.Error("no loss")
	}
	return mixed, loss
}
