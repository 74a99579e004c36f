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
	o := &observation{n, s, see}
	see(arch.Input, x)
	x = o.activate(arch.StemActivation, o.layer(n.stem, x))
	if n.Config.ImageNetStem {
		x = instead(s, x, s.MaxPool(x))
	}
	for i, b := range n.blocks {
		x = instead(s, x, o.block(n.arch.Blocks[i], b, x))
	}
	pooled := s.GlobalAvgPool(x)
	see(arch.Pooled, pooled)
	return s.Linear(pooled, n.fc.Weight, n.fc.Bias)
}

type observation struct {
	*ResNet
	s   *libtorch.Scope
	see func(value string, x libtorch.Tensor)
}

func (o *observation) block(names arch.Block, b *block, x libtorch.Tensor) libtorch.Tensor {
	out, last := x, len(b.body)-1
	for i, l := range b.body {
		next := o.layer(l, out)
		if i < last {
			next = o.activate(names.Activation(i), next)
		}
		if i > 0 { // the shortcut needs x
			o.s.Free(out)
		}
		out = next
	}
	shortcut := x
	if b.downsample != nil {
		shortcut = o.layer(b.downsample, x)
		defer o.s.Free(shortcut)
	}
	sum := instead(o.s, out, o.s.AddActivate(libtorch.Identity, out, shortcut))
	o.see(names.Sum(), sum)
	return o.activate(names.Activation(last), sum)
}

// layer is norm(conv(x)).
func (o *observation) layer(l *layer, x libtorch.Tensor) libtorch.Tensor {
	out := o.s.Conv2d(x, l.conv.Weight, l.Stride, l.Padding())
	if l.norm.groups != 0 {
		o.see(l.Conv, out)
	}
	out = instead(o.s, out, l.norm.forward(o.s, out, libtorch.Tensor{}, libtorch.Identity, Eval))
	o.see(l.Norm, out)
	return out
}

func (o *observation) activate(name string, x libtorch.Tensor) libtorch.Tensor {
	x = instead(o.s, x, o.s.Activate(o.activation, x))
	o.see(name, x)
	return x
}
