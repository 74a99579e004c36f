// Package resnet is the network of "Deep Residual Learning for Image Recognition" (He et al., 2015,
// https://arxiv.org/abs/1512.03385), with torchvision's names and initialisation.
package resnet

import (
	"fmt"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/wangkuiyi/gotorch/nn"
	"github.com/wangkuiyi/gotorch/nn/initializer"
)

// ResNet is a residual network of basic blocks.
type ResNet struct {
	Config Config

	conv1  *conv
	bn1    *norm
	layers [][]*basicBlock
	fc     *nn.LinearModule

	counters []*int64 // num_batches_tracked of all normalisations

	device libtorch.Device
	// watch, if set, sees the output of every layer of a forward pass.
	watch func(layer string, out libtorch.Tensor)
}

// New returns a network on device d. Its weights are those that torchvision.models.resnet.ResNet gives after
// torch.manual_seed(seed).
func New(config Config, seed int64, d libtorch.Device) (n *ResNet, err error) {
	defer func() { // gotorch's constructors panic, for example without memory
		if r := recover(); r != nil {
			err = fmt.Errorf("creating the network: %v", r)
		}
	}()
	initializer.ManualSeed(seed)
	n = &ResNet{Config: config, device: d}
	in := config.Widths[0]
	if config.ImageNetStem {
		n.conv1 = newConv(int64(config.Channels), in, 7, 2)
	} else {
		n.conv1 = newConv(int64(config.Channels), in, 3, 1)
	}
	if n.bn1, err = newNorm(in, config.Groups); err != nil {
		return nil, err
	}
	for i, out := range config.Widths {
		var layer []*basicBlock
		for j := range config.Blocks[i] {
			stride := int64(1)
			if i > 0 && j == 0 {
				stride = 2
			}
			block, err := newBasicBlock(in, out, stride, config.Groups)
			if err != nil {
				return nil, err
			}
			layer, in = append(layer, block), out
		}
		n.layers = append(n.layers, layer)
	}
	n.fc = nn.Linear(in, int64(config.Classes), true)
	for _, e := range n.entries() {
		if e.counter != nil {
			n.counters = append(n.counters, e.counter)
		}
	}
	if err := n.init(); err != nil {
		return nil, err
	}
	return n, n.move()
}

// init draws the weights of the convolutions anew, as torchvision does behind the constructors.
func (n *ResNet) init() error {
	n.conv1.init()
	for _, layer := range n.layers {
		for _, b := range layer {
			b.conv1.init()
			b.conv2.init()
			if b.downsample != nil {
				b.downsample.conv.init()
			}
			if n.Config.ZeroInitResidual {
				if err := libtorch.SetBytes(b.bn2.Weight, make([]byte, 4*b.conv2.OutChannels)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Forward maps images N×C×H×W to logits N×classes.
func (n *ResNet) Forward(s *libtorch.Scope, x libtorch.Tensor, mode Mode) libtorch.Tensor {
	x = n.see("conv1", n.conv1.forward(s, x))
	x = n.see("bn1", n.bn1.forward(s, x, n.Config.Activation, mode))
	if n.Config.ImageNetStem {
		x = s.MaxPool(x)
	}
	for i, layer := range n.layers {
		for j, block := range layer {
			x = block.forward(s, x, mode, n, i, j)
		}
	}
	return n.see("fc", s.Linear(s.GlobalAvgPool(x), n.fc.Weight, n.fc.Bias))
}

// see shows the output of a layer to whoever watches.
func (n *ResNet) see(layer string, out libtorch.Tensor) libtorch.Tensor {
	if n.watch != nil {
		n.watch(layer, out)
	}
	return out
}

// FirstNonFinite returns the first layer, in torchvision's names, whose output for images x is not finite; "" if there
// is none. It changes the running statistics, and is for networks that are lost anyway.
func (n *ResNet) FirstNonFinite(s *libtorch.Scope, x libtorch.Tensor, mode Mode) (layer string) {
	n.watch = func(name string, out libtorch.Tensor) {
		if layer != "" {
			return
		}
		if finite, err := libtorch.AllFinite(out); err == nil && !finite {
			layer = name
		}
	}
	defer func() { n.watch = nil }()
	s.NoGrad(func() { n.Forward(s, x, mode) })
	return layer
}

// basicBlock is two 3×3 convolutions and a shortcut around them (Fig. 5, left).
type basicBlock struct {
	conv1, conv2 *conv
	bn1, bn2     *norm
	// downsample is the projection shortcut (option B): nil where the shapes agree.
	downsample *projection
}

// projection is a 1×1 convolution with normalisation.
type projection struct {
	conv *conv
	bn   *norm
}

func newBasicBlock(in, out, stride, groups int64) (b *basicBlock, err error) {
	b = &basicBlock{}
	if stride != 1 || in != out { // first, as in torchvision: the order decides the random numbers
		b.downsample = &projection{conv: newConv(in, out, 1, stride)}
		if b.downsample.bn, err = newNorm(out, groups); err != nil {
			return nil, err
		}
	}
	b.conv1 = newConv(in, out, 3, stride)
	b.conv2 = newConv(out, out, 3, 1)
	if b.bn1, err = newNorm(out, groups); err != nil {
		return nil, err
	}
	b.bn2, err = newNorm(out, groups)
	return b, err
}

// forward of the block at n.layers[i][j].
func (b *basicBlock) forward(s *libtorch.Scope, x libtorch.Tensor, mode Mode, n *ResNet, i, j int) libtorch.Tensor {
	see := func(layer string, out libtorch.Tensor) libtorch.Tensor {
		if n.watch == nil {
			return out
		}
		return n.see(blockName(i, j)+layer, out)
	}
	f := n.Config.Activation
	out := see(".conv1", b.conv1.forward(s, x))
	out = see(".bn1", b.bn1.forward(s, out, f, mode))
	out = see(".conv2", b.conv2.forward(s, out))
	identity := x
	if b.downsample != nil {
		identity = see(".downsample.0", b.downsample.conv.forward(s, x))
		identity = see(".downsample.1", b.downsample.bn.forward(s, identity, libtorch.Identity, mode))
	}
	return see(".bn2", b.bn2.forwardAdd(s, out, identity, f, mode))
}

// blockName is the name of n.layers[i][j] in torchvision.
func blockName(i, j int) string { return fmt.Sprintf("layer%d.%d", i+1, j) }
