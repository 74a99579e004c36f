// Package eval uses a network without training it: it tests it on images whose classes are known, and predicts those of
// others.
package eval

import (
	"context"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
)

// Tester feeds a network.
type Tester struct {
	Net    *resnet.ResNet
	Device libtorch.Device
	DType  libtorch.DType // of convolutions and matrix products
	Input  checkpoint.Input
	// BatchSize is the number of images of a forward pass; results do not depend on it. At most that of training,
	// evaluation needs less memory than that.
	BatchSize int
	// Group, if there is one, tests together: each process takes its share of the batches, and all get the same result.
	Group *group.Group
}

// Options say what Test counts beside loss and accuracy.
type Options struct {
	// FlipTTA also averages the logits of every image and its mirror image.
	FlipTTA bool
	// Confusion also counts the confusion matrix.
	Confusion bool
	// Int8 also tests the network with weights and activations quantised: see ResNet.Quantize.
	Int8 bool
	// Predictions also returns what each image was taken for.
	Predictions bool
	// Progress, which may be nil, is told how many of all images are done.
	Progress func(done, total int)
}

// maxBatch is as fast as larger ones.
const maxBatch = 128

// BatchSize of a Tester for a network that is, or was, trained in batches of this size.
func BatchSize(training int32) int { return min(int(training), maxBatch) }

// logits of a batch, N×outputs, in float32: what is summed or averaged of them is not rounded to 16 bits.
func (t *Tester) logits(s *libtorch.Scope, images libtorch.Tensor) (logits libtorch.Tensor) {
	return t.logitsIn(s, images, resnet.Eval)
}

func (t *Tester) logitsIn(s *libtorch.Scope, images libtorch.Tensor, mode resnet.Mode) (logits libtorch.Tensor) {
	s.Autocast(t.Device, t.DType, func() { logits = t.Net.Forward(s, images, mode) })
	return s.Float(logits)
}

// Test evaluates the network on all images.
func (t *Tester) Test(ctx context.Context, im *data.Images, opts Options) (*Evaluation, error) {
	batches, rank, size := im.Count(t.BatchSize), t.Group.Rank(), t.Group.Size()
	sums, err := t.newSums(opts, batches, im.N)
	if err != nil {
		return nil, err
	}
	number := 0 // of the first batch that the processes take together
	meet := func() error {
		number += size
		if opts.Progress != nil {
			opts.Progress(min(number*t.BatchSize, im.N), im.N)
		}
		return t.Group.Meet()
	}
	for batch, err := range im.Batches(ctx, t.BatchSize, rank, size) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = t.count(sums, im, number+rank, batch)
		}
		if err == nil {
			err = meet()
		}
		if err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if number < batches { // the last ones are not for all
		if err := meet(); err != nil {
			return nil, err
		}
	}
	if err := sums.join(); err != nil {
		return nil, err
	}
	return sums.evaluation(im.N)
}

// count adds the batch of a number, from 0.
func (t *Tester) count(sums *sums, im *data.Images, number int, batch data.Batch) error {
	return libtorch.Do(func(s *libtorch.Scope) {
		s.NoGrad(func() {
			images := s.Images(batch.Pixels, batch.N, im.H, im.W, t.Input.Mean, t.Input.Std, t.Device)
			sums.add(s, number, images, s.Labels(batch.Labels, t.Device))
		})
	})
}
