package step

import (
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// batch is what a step computes with.
type batch struct {
	images, labels libtorch.Tensor
	others         libtorch.Tensor // the labels of the images that are mixed in; undefined without
	n              int             // images of this process
	numbers        numbersOfBatch
}

// numbersOfBatch are the numbers of a data.Whole that a step needs.
type numbersOfBatch struct {
	data.Whole
	// device takes their place where a GPU makes steps by itself: a row of wholeColumns.
	device libtorch.Tensor
}

// The columns of a data.Whole on a device; mixing has the first five in this order.
const (
	columnBlend = iota
	columnTop
	columnLeft
	columnBottom
	columnRight
	columnLambda
	columnTotal
	wholeColumns
)

// row is w on a device, for a process of so many.
func row(w data.Whole, processes int) []float64 {
	m := w.Mix
	return []float64{m.Blend, float64(m.Top), float64(m.Left), float64(m.Bottom), float64(m.Right), m.Lambda,
		w.Weight / float64(processes)}
}

func (c *core) batch(images, labels libtorch.Tensor, numbers numbersOfBatch) batch {
	return batch{images: images, labels: labels, n: c.Loader.BatchSize(), numbers: numbers}
}

// needsWhole reports whether the steps need more of a batch than its images and labels.
func (c *core) needsWhole() bool { return c.Loader.Mixes() || c.ClassWeights != nil }

func (b batch) number(s *libtorch.Scope, column int, value float64) libtorch.Number {
	if b.numbers.device.T == nil {
		return libtorch.Number{Value: value}
	}
	return libtorch.Number{Device: s.Element(b.numbers.device, column)}
}

// mix mixes every image with the one before it, if the recipe does so.
func (c *core) mix(s *libtorch.Scope, b batch) batch {
	if !c.Loader.Mixes() || s.Err() != nil {
		return b
	}
	var other libtorch.Tensor
	own := b.images
	if c.Loader.Before() {
		b.n--
		own, other = s.Narrow(b.images, 1, b.n), s.Narrow(b.images, 0, b.n)
		b.labels, b.others = s.Narrow(b.labels, 1, b.n), s.Narrow(b.labels, 0, b.n)
	} else {
		other, b.others = s.Roll(b.images), s.Roll(b.labels)
	}
	switch m := b.numbers.Mix; {
	case b.numbers.device.T != nil:
		b.images = s.DeviceMix(own, other, b.numbers.device)
	case m.Blend == 1:
		b.images = s.Paste(own, other, [4]int{m.Top, m.Left, m.Bottom, m.Right})
	default:
		b.images = s.Lerp(own, other, libtorch.Number{Value: m.Blend})
	}
	return b
}

// part is one of so many parts of a batch, of the same size.
func (b batch) part(s *libtorch.Scope, i, parts int) batch {
	n := b.n / parts
	b.images, b.labels = s.Narrow(b.images, i*n, n), s.Narrow(b.labels, i*n, n)
	if b.others.T != nil {
		b.others = s.Narrow(b.others, i*n, n)
	}
	return b
}

// free ends a part before its scope does.
func (b batch) free(s *libtorch.Scope) {
	s.Free(b.images)
	s.Free(b.labels)
	s.Free(b.others)
}

// newCriterion is the loss of a recipe, for a network of so many outputs.
func newCriterion(in Inputs, outputs int) (l libtorch.CrossEntropy, err error) {
	l.LabelSmoothing = in.Plan.LabelSmoothing
	if in.ClassWeights == nil {
		return l, nil
	}
	weights := make([]float32, outputs)
	for i := range weights {
		if weights[i] = 1; i < len(in.ClassWeights) { // the network may have more outputs than the data classes
			weights[i] = float32(in.ClassWeights[i])
		}
	}
	err = libtorch.Do(func(s *libtorch.Scope) {
		l.Weights = s.Keep(s.Zeros([]int64{int64(outputs)}, libtorch.Float32, in.Device))
		s.Fail(libtorch.Upload(l.Weights, weights))
	})
	return l, err
}

// loss of logits of a batch, or of a part of it: the mean over the images of this process, or with class weights what this
// process has of the weighted mean over those of all, times the number of processes.
func (c *core) loss(s *libtorch.Scope, logits libtorch.Tensor, b batch) libtorch.Tensor {
	var total libtorch.Number
	switch {
	case c.ClassWeights != nil:
		total = b.number(s, columnTotal, b.numbers.Weight/float64(c.Group.Size()))
	case c.Plan.Parts() > 1:
		total.Value = float64(b.n)
	}
	loss := c.criterion.OfPart(s, logits, b.labels, total)
	if b.others.T == nil {
		return loss
	}
	return s.Lerp(loss, c.criterion.OfPart(s, logits, b.others, total), b.number(s, columnLambda, b.numbers.Mix.Lambda))
}
