package resnet

import (
	"math"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
	"github.com/wangkuiyi/gotorch/nn"
	"github.com/wangkuiyi/gotorch/nn/initializer"
)

// Mode is how a forward pass works.
type Mode int

const (
	// Eval normalises by the running statistics, as Module.eval. It is also for training with frozen statistics.
	Eval Mode = 0
	// Train normalises by the batch and moves the running statistics, as Module.train.
	Train Mode = 1 << iota
	// Quantized rounds weights and activations as an int8 model does: see Quantize.
	Quantized
	// Observing, with Quantized, moves the ranges of the activations first.
	Observing
)

// layer is a convolution and the normalisation behind it.
type layer struct {
	arch.Layer
	conv *nn.Conv2dModule
	norm *norm
}

func newLayer(l arch.Layer, groups int64) (*layer, error) {
	conv := nn.Conv2d(l.In, l.Out, l.Kernel, l.Stride, l.Padding(), 1, 1, false, "zeros")
	norm, err := newNorm(l.Out, groups)
	return &layer{l, conv, norm}, err
}

// init is nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu").
func (l *layer) init() {
	fanOut := l.Out * l.Kernel * l.Kernel
	initializer.Normal(&l.conv.Weight, 0, math.Sqrt2/math.Sqrt(float64(fanOut)))
}

// entries of the state dict without their names, in its order.
func (l *layer) entries() []entry {
	n := l.norm
	es := []entry{{tensor: l.conv.Weight}, {tensor: n.Weight}, {tensor: n.Bias}}
	if n.groups != 0 {
		return es
	}
	return append(es, entry{tensor: n.RunningMean}, entry{tensor: n.RunningVar}, entry{counter: &n.numBatchesTracked})
}

// norm is nn.BatchNorm2d, or nn.GroupNorm if groups is not 0.
type norm struct {
	groups int64
	// GroupNorm uses weight, bias and eps of it only.
	libtorch.BatchNorm
	numBatchesTracked int64
	frozen            bool // the running statistics: see Freeze
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

// moves reports whether a pass in a mode normalises by the batch, and moves the running statistics.
func (n *norm) moves(mode Mode) bool { return mode&Train != 0 && !n.frozen }

// forward is f(norm(x) + add), where add may be undefined.
func (n *norm) forward(s *libtorch.Scope, x, add libtorch.Tensor, f libtorch.Activation, mode Mode) libtorch.Tensor {
	if n.groups == 0 {
		return s.BatchNorm(&n.BatchNorm, x, add, f, n.moves(mode))
	}
	x = s.GroupNorm(x, n.Weight, n.Bias, n.groups, normEps)
	defer s.Free(x)
	if add.T == nil {
		return s.Activate(f, x)
	}
	return s.AddActivate(f, x, add)
}
