package resnet

import (
	"math"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/wangkuiyi/gotorch/nn"
	"github.com/wangkuiyi/gotorch/nn/initializer"
)

// Mode is how normalisation works in a forward pass.
type Mode int

const (
	// Eval normalises by the running statistics, as Module.eval.
	Eval Mode = iota
	// Train normalises by the batch and moves the running statistics, as Module.train.
	Train
	// TrainFrozen is for training with frozen statistics (TinyBatchNorm): as Eval.
	TrainFrozen
)

// conv is nn.Conv2d without bias, padded so that stride 1 keeps height and width.
type conv struct{ *nn.Conv2dModule }

func newConv(in, out, kernel, stride int64) *conv {
	return &conv{nn.Conv2d(in, out, kernel, stride, kernel/2, 1, 1, false, "zeros")}
}

// init is nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu").
func (c *conv) init() {
	fanOut := c.OutChannels * c.KernelSize * c.KernelSize
	initializer.Normal(&c.Weight, 0, math.Sqrt2/math.Sqrt(float64(fanOut)))
}

func (c *conv) forward(s *libtorch.Scope, x libtorch.Tensor) libtorch.Tensor {
	return s.Conv2d(x, c.Weight, c.Stride, c.Padding)
}

// norm is nn.BatchNorm2d, or nn.GroupNorm if groups is not 0.
type norm struct {
	groups int64
	// GroupNorm uses weight, bias and eps of it only.
	libtorch.BatchNorm
	numBatchesTracked int64
}

// The default arguments of PyTorch's normalisations.
const normEps, normMomentum = 1e-5, 0.1

func newNorm(features, groups int64) (n *norm, err error) {
	n = &norm{groups: groups, BatchNorm: libtorch.BatchNorm{Momentum: normMomentum, Eps: normEps}}
	shape := []int64{features}
	if n.Weight, err = libtorch.NewParameter(shape, 1); err != nil {
		return nil, err
	}
	if n.Bias, err = libtorch.NewParameter(shape, 0); err != nil || groups != 0 {
		return n, err
	}
	if n.RunningMean, err = libtorch.NewBuffer(shape, 0); err != nil {
		return nil, err
	}
	n.RunningVar, err = libtorch.NewBuffer(shape, 1)
	return n, err
}

// forward is f(norm(x)).
func (n *norm) forward(s *libtorch.Scope, x libtorch.Tensor, f libtorch.Activation, mode Mode) libtorch.Tensor {
	if n.groups != 0 {
		return s.Activate(f, s.GroupNorm(x, n.Weight, n.Bias, n.groups, normEps))
	}
	return n.batchNorm(s, x, libtorch.Tensor{}, f, mode)
}

// forwardAdd is f(norm(x) + y).
func (n *norm) forwardAdd(s *libtorch.Scope, x, y libtorch.Tensor, f libtorch.Activation, mode Mode) libtorch.Tensor {
	if n.groups != 0 {
		return s.AddActivate(f, s.GroupNorm(x, n.Weight, n.Bias, n.groups, normEps), y)
	}
	return n.batchNorm(s, x, y, f, mode)
}

func (n *norm) batchNorm(s *libtorch.Scope, x, add libtorch.Tensor, f libtorch.Activation, mode Mode) libtorch.Tensor {
	return s.BatchNorm(&n.BatchNorm, x, add, f, mode == Train)
}
