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

// architecture is a column of He et al., 2015, table 1: the blocks of each stage, and of which kind they are.
type architecture struct {
	blocks     []int
	bottleneck bool
}

var architectures = map[v1.Architecture]architecture{
	v1.ResNet18:  {[]int{2, 2, 2, 2}, false},
	v1.ResNet34:  {[]int{3, 4, 6, 3}, false},
	v1.ResNet50:  {[]int{3, 4, 6, 3}, true},
	v1.ResNet101: {[]int{3, 4, 23, 3}, true},
	v1.ResNet152: {[]int{3, 8, 36, 3}, true},
}

// New returns the layers of a network.
func New(c Config) *Network {
	in := c.Widths[0]
	n := &Network{Config: c, Stem: Layer{Conv: "conv1", Norm: "bn1", In: int64(c.Channels), Out: in, Kernel: 3, Stride: 1}}
	if c.ImageNetStem {
		n.Stem.Kernel, n.Stem.Stride = 7, 2
	}
	body := basic
	if c.Bottleneck {
		body = bottleneck
	}
	for stage, count := range c.Blocks {
		stride := int64(min(stage+1, 2))
		for i := range count {
			b := newBlock(fmt.Sprintf("layer%d.%d", stage+1, i), body(in, c.Widths[stage], stride), stride)
			n.Blocks = append(n.Blocks, b)
			in, stride = b.out(), 1
		}
	}
	return n
}

// basic is the body of two 3×3 convolutions (He et al., 2015, Fig. 5, left).
func basic(in, width, stride int64) []Layer {
	return []Layer{
		{In: in, Out: width, Kernel: 3, Stride: stride},
		{In: width, Out: width, Kernel: 3, Stride: 1},
	}
}

// expansion is how many times the width of a stage a bottleneck's output has.
const expansion = 4

// bottleneck is the body with one 3×3 convolution between two of 1×1 (He et al., 2015, Fig. 5, right). The stride is that
// of the 3×3 convolution, as in torchvision ("ResNet v1.5"); in the paper it is that of the first.
func bottleneck(in, width, stride int64) []Layer {
	return []Layer{
		{In: in, Out: width, Kernel: 1, Stride: 1},
		{In: width, Out: width, Kernel: 3, Stride: stride},
		{In: width, Out: expansion * width, Kernel: 1, Stride: 1},
	}
}

// newBlock names the layers of a body, and adds the projection where the body changes the shape.
func newBlock(name string, body []Layer, stride int64) Block {
	for i := range body {
		body[i].Conv, body[i].Norm = fmt.Sprintf("%s.conv%d", name, i+1), fmt.Sprintf("%s.bn%d", name, i+1)
	}
	b := Block{Name: name, Body: body}
	if in, out := body[0].In, b.out(); stride != 1 || in != out {
		b.Downsample = &Layer{name + ".downsample.0", name + ".downsample.1", in, out, 1, stride}
	}
	return b
}

// out are the channels behind a block.
func (b Block) out() int64 { return b.Body[len(b.Body)-1].Out }

// Features are the channels behind the last block, which fc reads.
func (n *Network) Features() int64 { return n.Blocks[len(n.Blocks)-1].out() }

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

// Quantized are the names of the values that an int8 model of BatchNorm, and ReLU or LeakyReLU, quantises, in the order
// in which they come about. LeakyReLU reads a quantised value, ReLU belongs to what is before it.
func (n *Network) Quantized() []string {
	all := []string{Input}
	activation := func(operand, name string) {
		if n.Config.Activation == v1.LeakyReLU {
			all = append(all, operand)
		}
		all = append(all, name)
	}
	activation(n.Stem.Norm, StemActivation)
	for _, b := range n.Blocks {
		last := len(b.Body) - 1
		for i, l := range b.Body[:last] {
			activation(l.Norm, b.Activation(i))
		}
		if b.Downsample != nil {
			all = append(all, b.Downsample.Norm)
		}
		all = append(all, b.Body[last].Norm)
		activation(b.Sum(), b.Activation(last))
	}
	return append(all, Pooled)
}
