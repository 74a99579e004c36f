// Package eval uses a network without training it: it tests it on images whose classes are known, and predicts those of
// others.
package eval

import (
	"context"
	"slices"

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
	batches := slices.Collect(im.Batches(t.BatchSize))
	sums, err := t.newSums(opts, len(batches))
	if err != nil {
		return nil, err
	}
	done := 0
	for together := range slices.Chunk(batches, t.Group.Size()) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if rank := t.Group.Rank(); rank < len(together) {
			if err := t.count(sums, im, done/t.BatchSize+rank, together[rank]); err != nil {
				return nil, err
			}
		}
		for _, batch := range together {
			done += batch.N
		}
		if err := t.Group.Meet(); err != nil {
			return nil, err
		}
		if opts.Progress != nil {
			opts.Progress(done, im.N)
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
