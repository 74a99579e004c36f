// Package arch describes the layers of the ResNets, in torchvision's names. The network is built, its files are checked
// and its ONNX graph is written from this description. It needs no libtorch.
package arch

import (
	"fmt"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Network is the list of the layers of a ResNet. Behind the blocks come the mean over height and width, and fc.
type Network struct {
	Config Config
	// Stem is followed by a max-pooling if Config.ImageNetStem.
	Stem   Layer
	Blocks []Block
}

// Layer is a convolution without bias, padded by half its kernel, and the normalisation behind it.
type Layer struct {
	// Conv and Norm are their names.
	Conv, Norm              string
	In, Out, Kernel, Stride int64
}

// Padding of the convolution: with stride 1 it keeps height and width.
func (l Layer) Padding() int64 { return l.Kernel / 2 }

// Block is a residual block: the activation is behind every layer of the body, at the last one after the shortcut was
// added. Downsample is the projection shortcut (He et al., 2015, option B); nil where the shortcut is the identity.
type Block struct {
	Name       string
	Body       []Layer
	Downsample *Layer
}

// Names of the values between the layers, beside those of the layers. An activation is named after torchvision's module,
// and numbered where a block has several.
const (
	Input          = "input"
	StemActivation = "relu"
	Pooled         = "avgpool"
)

// Activation is the name of the value behind layer i of the body, from 0.
func (b Block) Activation(i int) string { return fmt.Sprintf("%s.relu%d", b.Name, i+1) }

// Sum is the name of the value before the last activation.
func (b Block) Sum() string { return b.Name + ".add" }

// blocksOf each stage (He et al., 2015, table 1).
var blocksOf = map[v1.Architecture][]int{
	v1.ResNet18: {2, 2, 2, 2},
	v1.ResNet34: {3, 4, 6, 3},
}

// New returns the layers of a network.
func New(c Config) *Network {
	in := c.Widths[0]
	n := &Network{Config: c, Stem: Layer{Conv: "conv1", Norm: "bn1", In: int64(c.Channels), Out: in, Kernel: 3, Stride: 1}}
	if c.ImageNetStem {
		n.Stem.Kernel, n.Stem.Stride = 7, 2
	}
	for stage, count := range c.Blocks {
		out, stride := c.Widths[stage], int64(min(stage+1, 2))
		for i := range count {
			n.Blocks = append(n.Blocks, basicBlock(fmt.Sprintf("layer%d.%d", stage+1, i), in, out, stride))
			in, stride = out, 1
		}
	}
	return n
}

// basicBlock is two 3×3 convolutions (He et al., 2015, Fig. 5, left).
func basicBlock(name string, in, out, stride int64) Block {
	b := Block{Name: name, Body: []Layer{
		{name + ".conv1", name + ".bn1", in, out, 3, stride},
		{name + ".conv2", name + ".bn2", out, out, 3, 1},
	}}
	if stride != 1 || in != out {
		b.Downsample = &Layer{name + ".downsample.0", name + ".downsample.1", in, out, 1, stride}
	}
	return b
}

// layers in the order of the state dict.
func (n *Network) layers() []Layer {
	all := []Layer{n.Stem}
	for _, b := range n.Blocks {
		all = append(all, b.Body...)
		if b.Downsample != nil {
			all = append(all, *b.Downsample)
		}
	}
	return all
}
