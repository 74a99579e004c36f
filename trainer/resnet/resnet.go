// Package resnet is the network of "Deep Residual Learning for Image Recognition" (He et al., 2015,
// https://arxiv.org/abs/1512.03385), with torchvision's names and PyTorch's default initialisation.
package resnet

import (
	"fmt"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/wangkuiyi/gotorch/nn"
	"github.com/wangkuiyi/gotorch/nn/initializer"
)

// ResNet is a residual network for images of about 32×32 pixels: its stem is one 3×3 convolution of stride 1, without
// the max-pooling that the paper uses for ImageNet.
type ResNet struct {
	conv1  *conv
	bn1    *batchNorm
	layers [][]*basicBlock
	fc     *nn.LinearModule

	device libtorch.Device
}

// Widths18 are the channels of the four stages of ResNet-18.
var Widths18 = []int64{64, 128, 256, 512}

// New returns a network on device d with a stage of two basic blocks for each of widths. Its weights are those that
// PyTorch gives to modules that are created in the order of the state dict after torch.manual_seed(seed).
func New(inChannels, classes int, widths []int64, seed int64, d libtorch.Device) (n *ResNet, err error) {
	defer func() { // gotorch's constructors panic, for example without memory
		if r := recover(); r != nil {
			err = fmt.Errorf("creating the network: %v", r)
		}
	}()
	initializer.ManualSeed(seed)
	in := widths[0]
	n = &ResNet{conv1: newConv(int64(inChannels), in, 3, 1), bn1: newBatchNorm(in), device: d}
	for i, out := range widths {
		stride := int64(2)
		if i == 0 {
			stride = 1
		}
		n.layers = append(n.layers, []*basicBlock{newBasicBlock(in, out, stride), newBasicBlock(out, out, 1)})
		in = out
	}
	n.fc = nn.Linear(in, int64(classes), true)
	return n, n.move()
}

// Forward maps images N×C×H×W to logits N×classes. In training, batch normalisation uses and records the statistics of
// the batch, else the recorded ones.
func (n *ResNet) Forward(s *libtorch.Scope, x libtorch.Tensor, training bool) libtorch.Tensor {
	x = s.ReLU(n.bn1.forward(s, n.conv1.forward(s, x), training))
	for _, layer := range n.layers {
		for _, block := range layer {
			x = block.forward(s, x, training)
		}
	}
	return s.Linear(s.GlobalAvgPool(x), n.fc.Weight, n.fc.Bias)
}

// basicBlock is two 3×3 convolutions and a shortcut around them (Fig. 5, left).
type basicBlock struct {
	conv1, conv2 *conv
	bn1, bn2     *batchNorm
	// downsample is the projection shortcut (option B): nil where the shapes agree.
	downsample *projection
}

// projection is a 1×1 convolution with batch normalisation.
type projection struct {
	conv *conv
	bn   *batchNorm
}

func newBasicBlock(in, out, stride int64) *basicBlock {
	b := &basicBlock{
		conv1: newConv(in, out, 3, stride), bn1: newBatchNorm(out),
		conv2: newConv(out, out, 3, 1), bn2: newBatchNorm(out),
	}
	if stride != 1 || in != out {
		b.downsample = &projection{newConv(in, out, 1, stride), newBatchNorm(out)}
	}
	return b
}

func (b *basicBlock) forward(s *libtorch.Scope, x libtorch.Tensor, training bool) libtorch.Tensor {
	out := s.ReLU(b.bn1.forward(s, b.conv1.forward(s, x), training))
	out = b.bn2.forward(s, b.conv2.forward(s, out), training)
	identity := x
	if b.downsample != nil {
		identity = b.downsample.bn.forward(s, b.downsample.conv.forward(s, x), training)
	}
	return s.AddReLU(out, identity)
}
