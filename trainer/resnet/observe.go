package resnet

import (
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// Observe is Forward in evaluation with nothing fused: see is given every value between two layers under its name in
// package arch, and must not keep it. The output of a convolution is one where GroupNorm follows; BatchNorm belongs to
// the convolution.
func (n *ResNet) Observe(s *libtorch.Scope, x libtorch.Tensor,
	see func(value string, x libtorch.Tensor)) (logits libtorch.Tensor) {
	return n.walk(s, x, &observation{float{n, s, Eval}, see})
}

type observation struct {
	float
	see func(value string, x libtorch.Tensor)
}

func (o *observation) input(images libtorch.Tensor) value {
	o.see(arch.Input, images)
	return o.float.input(images)
}

func (o *observation) convolve(l *layer, x value) value {
	y := o.float.convolve(l, x)
	if l.norm.groups != 0 {
		o.see(l.Conv, y.Tensor)
	}
	return y
}

func (o *observation) normalise(l *layer, x, add value, f libtorch.Activation, name string) value {
	y := o.float.normalise(l, x, value{}, libtorch.Identity, l.Norm)
	o.see(l.Norm, y.Tensor)
	if add.T != nil {
		y = instead(o.s, y, value{Tensor: o.s.AddActivate(libtorch.Identity, y.Tensor, add.Tensor)})
		o.see(o.sumBehind(l), y.Tensor)
	}
	if f == libtorch.Identity {
		return y
	}
	y = instead(o.s, y, value{Tensor: o.s.Activate(f, y.Tensor), name: name})
	o.see(name, y.Tensor)
	return y
}

func (o *observation) classify(x value) libtorch.Tensor {
	pooled := o.s.GlobalAvgPool(x.Tensor)
	o.see(arch.Pooled, pooled)
	return o.s.Linear(pooled, o.fc.Weight, o.fc.Bias)
}
