package resnet

import (
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// operations are how a forward pass computes: in float, with fake quantisation, or seen by an observer. None frees what
// it is given.
type operations interface {
	input(images libtorch.Tensor) value
	convolve(l *layer, x value) value
	// normalise is f(norm(x) + add) behind the convolution of l, where add may be empty. name is that of the result.
	normalise(l *layer, x, add value, f libtorch.Activation, name string) value
	// classify are the logits, from the mean over height and width.
	classify(x value) libtorch.Tensor
}

// value is a tensor between two operations, and its name in package arch. Behind a convolution that is the name of what
// the convolution read.
type value struct {
	libtorch.Tensor
	name string
	// scales of the weights, behind a convolution of integers.
	scales libtorch.Tensor
	keep   bool // it is the caller's
}

// float computes with real numbers.
type float struct {
	*ResNet
	s    *libtorch.Scope
	mode Mode
}

func (o *float) input(images libtorch.Tensor) value {
	return value{Tensor: images, name: arch.Input, keep: true}
}

func (o *float) convolve(l *layer, x value) value {
	return value{Tensor: o.see(l.Conv, o.s.Conv2d(x.Tensor, l.conv.Weight, l.Stride, l.Padding())), name: x.name}
}

func (o *float) normalise(l *layer, x, add value, f libtorch.Activation, name string) value {
	return value{Tensor: o.see(l.Norm, l.norm.forward(o.s, x.Tensor, add.Tensor, f, o.mode)), name: name}
}

func (o *float) classify(x value) libtorch.Tensor {
	return o.s.Linear(o.s.GlobalAvgPool(x.Tensor), o.fc.Weight, o.fc.Bias)
}
