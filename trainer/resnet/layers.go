package resnet

import (
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/wangkuiyi/gotorch/nn"
)

// conv is nn.Conv2d without bias, padded so that stride 1 keeps height and width.
type conv struct{ *nn.Conv2dModule }

func newConv(in, out, kernel, stride int64) *conv {
	return &conv{nn.Conv2d(in, out, kernel, stride, kernel/2, 1, 1, false, "zeros")}
}

func (c *conv) forward(s *libtorch.Scope, x libtorch.Tensor) libtorch.Tensor {
	return s.Conv2d(x, c.Weight, c.Stride, c.Padding)
}

// batchNorm is nn.BatchNorm2d with the counter that gotorch's lacks.
type batchNorm struct {
	*nn.BatchNorm2dModule
	numBatchesTracked int64
}

func newBatchNorm(features int64) *batchNorm {
	const eps, momentum = 1e-5, 0.1
	return &batchNorm{BatchNorm2dModule: nn.BatchNorm2d(features, eps, momentum, true, true)}
}

func (b *batchNorm) forward(s *libtorch.Scope, x libtorch.Tensor, training bool) libtorch.Tensor {
	if training {
		b.numBatchesTracked++
	}
	return s.BatchNorm(x, b.Weight, b.Bias, b.RunningMean, b.RunningVar, training, b.Momentum, b.Eps)
}
