// Package resnet is the network of "Deep Residual Learning for Image Recognition" (He et al., 2015,
// https://arxiv.org/abs/1512.03385), with torchvision's names and initialisation.
package resnet

import (
	"fmt"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
	"github.com/wangkuiyi/gotorch/nn"
	"github.com/wangkuiyi/gotorch/nn/initializer"
)

// ResNet is a residual network.
type ResNet struct {
	Config arch.Config

	arch   *arch.Network
	stem   *layer
	blocks []*block
	fc     *nn.LinearModule

	activation libtorch.Activation
	entries    []entry // of the state dict, in its order
	norms      []*norm // that have running statistics

	device    libtorch.Device
	processes *libtorch.ProcessGroup // of Synchronize
	quant     *quantization          // of Quantize
	// watch, if set, sees the output of every layer of a forward pass.
	watch func(layer string, out libtorch.Tensor)
}

// block is a residual block, as arch.Block.
type block struct {
	body       []*layer
	downsample *layer
}

var activations = map[v1.Activation]libtorch.Activation{
	v1.ReLU:      libtorch.ReLU,
	v1.LeakyReLU: libtorch.LeakyReLU,
	v1.SiLU:      libtorch.SiLU,
	v1.GELU:      libtorch.GELU,
	v1.Hardswish: libtorch.Hardswish,
}

// New returns a network on device d. Its weights are those that torchvision.models.resnet.ResNet gives after
// torch.manual_seed(seed).
func New(config arch.Config, seed int64, d libtorch.Device) (n *ResNet, err error) {
	defer func() { // gotorch's constructors panic, for example without memory
		if r := recover(); r != nil {
			err = fmt.Errorf("creating the network: %v", r)
		}
	}()
	initializer.ManualSeed(seed)
	n = &ResNet{Config: config, arch: arch.New(config), activation: activations[config.Activation], device: d}
	if n.stem, err = newLayer(n.arch.Stem, config.Groups); err != nil {
		return nil, err
	}
	for _, b := range n.arch.Blocks {
		block, err := newBlock(b, config.Groups)
		if err != nil {
			return nil, err
		}
		n.blocks = append(n.blocks, block)
	}
	n.fc = nn.Linear(n.arch.Features(), int64(config.Classes), true)
	for _, l := range n.layers() {
		l.init() // draws anew behind the constructors, as torchvision does
	}
	n.collectEntries()
	if err := n.zeroInitResidual(); err != nil {
		return nil, err
	}
	return n, n.move()
}

func newBlock(b arch.Block, groups int64) (_ *block, err error) {
	made := &block{}
	if b.Downsample != nil { // first, as in torchvision: the order decides the random numbers
		if made.downsample, err = newLayer(*b.Downsample, groups); err != nil {
			return nil, err
		}
	}
	for _, l := range b.Body {
		layer, err := newLayer(l, groups)
		if err != nil {
			return nil, err
		}
		made.body = append(made.body, layer)
	}
	return made, nil
}

// layers in the order of the state dict.
func (n *ResNet) layers() []*layer {
	all := []*layer{n.stem}
	for _, b := range n.blocks {
		all = append(all, b.body...)
		if b.downsample != nil {
			all = append(all, b.downsample)
		}
	}
	return all
}

func (n *ResNet) zeroInitResidual() error {
	if !n.Config.ZeroInitResidual {
		return nil
	}
	for _, b := range n.blocks {
		last := b.body[len(b.body)-1]
		if err := libtorch.SetBytes(last.norm.Weight, make([]byte, 4*last.Out)); err != nil {
			return err
		}
	}
	return nil
}

// Forward maps images N×C×H×W to logits N×classes. What a layer was given is freed behind it; in training autograd keeps what it needs.
func (n *ResNet) Forward(s *libtorch.Scope, x libtorch.Tensor, mode Mode) libtorch.Tensor {
	if mode&Quantized != 0 {
		return n.walk(s, x, &quantized{n, s, mode})
	}
	return n.walk(s, x, &float{n, s, mode})
}

// walk is a forward pass by the operations of o.
func (n *ResNet) walk(s *libtorch.Scope, images libtorch.Tensor, o operations) libtorch.Tensor {
	x := o.input(images)
	x = instead(s, x, n.hidden(s, o, n.stem, x, arch.StemActivation))
	if n.Config.ImageNetStem {
		x = instead(s, x, value{Tensor: s.MaxPool(x.Tensor), name: x.name})
	}
	for i, b := range n.blocks {
		x = instead(s, x, n.block(s, o, n.arch.Blocks[i], b, x))
	}
	return n.see("fc", o.classify(x))
}

func (n *ResNet) block(s *libtorch.Scope, o operations, names arch.Block, b *block, x value) value {
	out, last := x, len(b.body)-1
	for i, l := range b.body[:last] {
		next := n.hidden(s, o, l, out, names.Activation(i))
		if i > 0 { // the shortcut needs x
			s.Free(out.Tensor)
		}
		out = next
	}
	out = instead(s, out, o.convolve(b.body[last], out))
	shortcut := x
	if l := b.downsample; l != nil {
		y := o.convolve(l, x)
		shortcut = instead(s, y, o.normalise(l, y, value{}, libtorch.Identity, l.Norm))
		defer s.Free(shortcut.Tensor)
	}
	return instead(s, out, o.normalise(b.body[last], out, shortcut, n.activation, names.Activation(last)))
}

// sumBehind is the name of the sum that the last layer of a block is a term of.
func (n *ResNet) sumBehind(l *layer) string {
	i := slices.IndexFunc(n.blocks, func(b *block) bool { return b.body[len(b.body)-1] == l })
	return n.arch.Blocks[i].Sum()
}

// hidden is f(norm(conv(x))).
func (n *ResNet) hidden(s *libtorch.Scope, o operations, l *layer, x value, name string) value {
	y := o.convolve(l, x)
	return instead(s, y, o.normalise(l, y, value{}, n.activation, name))
}

// instead is y, which was made of x: it frees x.
func instead(s *libtorch.Scope, x, y value) value {
	if !x.keep {
		s.Free(x.Tensor)
	}
	return y
}

// see shows the output of a layer to whoever watches.
func (n *ResNet) see(layer string, out libtorch.Tensor) libtorch.Tensor {
	if n.watch != nil {
		n.watch(layer, out)
	}
	return out
}

// Synchronize makes batch normalisation that of all processes of a group in training, as
// torch.nn.SyncBatchNorm.convert_sync_batchnorm; nil ends that.
func (n *ResNet) Synchronize(g *libtorch.ProcessGroup) {
	n.processes = g
	for _, l := range n.layers() {
		l.norm.Processes = g
	}
}

// Synchronized reports whether all processes of a group have the same running statistics: see Synchronize.
func (n *ResNet) Synchronized() bool { return n.processes != nil }

// FirstNonFinite returns the first layer, in torchvision's names, whose output for images x is not finite; "" if there
// is none. It changes the running statistics, and is for networks that are lost anyway. Other processes have no part in
// it.
func (n *ResNet) FirstNonFinite(s *libtorch.Scope, x libtorch.Tensor, mode Mode) (layer string) {
	n.watch = func(name string, out libtorch.Tensor) {
		if layer != "" {
			return
		}
		if finite, err := libtorch.AllFinite(out); err == nil && !finite {
			layer = name
		}
	}
	defer func(g *libtorch.ProcessGroup) { n.watch = nil; n.Synchronize(g) }(n.processes)
	n.Synchronize(nil)
	s.NoGrad(func() { n.Forward(s, x, mode) })
	return layer
}
