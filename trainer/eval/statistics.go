package eval

import (
	"context"
	"iter"

	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
)

// UpdateStatistics makes the running statistics of the network, where they are not frozen, means over batches of images of im's
// size: torch.optim.swa_utils.update_bn. A last batch that is smaller than the others is left out, since it would count
// as much as they do. Every process of a Group is to do it, with the same batches.
func (t *Tester) UpdateStatistics(ctx context.Context, im *data.Images, batches iter.Seq2[data.Batch, error]) error {
	defer t.Net.EndAverage()
	done, size := 0, 0
	for batch, err := range batches {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if size = max(size, batch.N); batch.N < size {
			break
		}
		t.Net.AverageStatistics(done)
		err = libtorch.Do(func(s *libtorch.Scope) {
			s.NoGrad(func() {
				t.logitsIn(s, s.Images(batch.Pixels, batch.N, im.H, im.W, t.Input.Mean, t.Input.Std, t.Device), resnet.Train)
			})
		})
		if err != nil {
			return err
		}
		done++
	}
	return ctx.Err()
}
