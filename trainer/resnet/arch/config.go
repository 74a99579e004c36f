package arch

import (
	"cmp"
	"fmt"
	"math"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// Config is a network, with every choice made.
type Config struct {
	// Blocks are the blocks of each stage, Widths the channels of their 3×3 convolutions.
	Blocks []int
	Widths []int64
	// Bottleneck says that the blocks are bottlenecks, with four times as many channels behind them; else they are basic.
	Bottleneck bool
	// ImageNetStem is a 7×7 convolution and max-pooling, both of stride 2; otherwise the stem is a 3×3 convolution.
	ImageNetStem bool
	// Groups of torch.nn.GroupNorm; 0 is BatchNorm2d.
	Groups           int64
	Activation       v1.Activation
	ZeroInitResidual bool
	Channels         int
	Classes          int
}

// ConfigOf resolves a spec for images of size height×width with so many channels and classes. Fields that are empty
// have their defaults.
//
// Errors: exit code 64 if the spec does not fit the data, or not itself.
func ConfigOf(spec v1.ModelSpec, height, width, channels, classes int) (c Config, err error) {
	a := architectures[cmp.Or(spec.Architecture, v1.ResNet18)]
	c = Config{
		Blocks:           a.blocks,
		Widths:           widths(cmp.Or(spec.WidthMultiplier, 1)),
		Bottleneck:       a.bottleneck,
		ImageNetStem:     StemOf(spec, height, width) == v1.StemImageNet,
		Activation:       cmp.Or(spec.Activation, v1.ReLU),
		ZeroInitResidual: spec.ZeroInitResidual,
		Channels:         channels,
		Classes:          classes,
	}
	if len(c.Blocks) == 0 {
		return c, bad("spec.model.architecture: %q is not known", spec.Architecture)
	}
	if spec.InputChannels != nil {
		c.Channels = int(*spec.InputChannels)
	}
	if n := spec.NumClasses; n != nil {
		if int(*n) < classes {
			return c, bad("spec.model.numClasses is %d, but the data has %d classes: set it to %d or more, or leave it out", *n, classes, classes)
		}
		c.Classes = int(*n)
	}
	if c.Groups, err = groups(spec, c.Widths); err != nil {
		return c, err
	}
	if least := c.leastSize(); min(height, width) < least {
		return c, bad("spec.model.stem %s needs images of at least %d×%d pixels, but those of the data are %d×%d",
			StemOf(spec, height, width), least, least, height, width)
	}
	return c, nil
}

// largestCIFAR is the size in pixels up to which the stem CIFAR is the default.
const largestCIFAR = 64

// StemOf a network for images of a size.
func StemOf(spec v1.ModelSpec, height, width int) v1.Stem {
	switch {
	case spec.Stem != "":
		return spec.Stem
	case min(height, width) > largestCIFAR:
		return v1.StemImageNet
	}
	return v1.StemCIFAR
}

// leastSize is the size of an image, in pixels, of which the last stage still sees a pixel that is not only padding.
func (c Config) leastSize() int {
	if c.ImageNetStem {
		return 32
	}
	return 8
}

// widths of the stages: 64, 128, 256 and 512 times the multiplier, rounded to multiples of 8, at least 8.
func widths(multiplier float64) (all []int64) {
	for stage := range 4 {
		width := float64(int64(64) << stage)
		all = append(all, max(8, 8*int64(math.Round(width*multiplier/8))))
	}
	return all
}

const defaultGroups = 32

// groups of the normalisation; 0 is BatchNorm.
func groups(spec v1.ModelSpec, widths []int64) (int64, error) {
	switch spec.Normalization {
	case v1.LayerNorm:
		return 1, nil
	case v1.GroupNorm:
	default:
		return 0, nil
	}
	divides := func(g int64) bool {
		for _, w := range widths {
			if w%g != 0 {
				return false
			}
		}
		return true
	}
	if n := spec.NormalizationGroups; n != nil {
		if !divides(int64(*n)) {
			return 0, bad("spec.model.normalizationGroups is %d, which does not divide the channels of every stage, %v", *n, widths)
		}
		return int64(*n), nil
	}
	g := int64(defaultGroups)
	for !divides(g) {
		g /= 2
	}
	return g, nil
}

func bad(format string, args ...any) error {
	return exit.Errorf(contract.ExitConfig, "%w", fmt.Errorf(format, args...))
}

// ResizeSize is how long the shorter side of a picture is made by default, before its centre of size×size is cut out: that
// in front of the stem ImageNet as torchvision's networks are tested, 256 for 224.
func ResizeSize(spec v1.ModelSpec, size int) int {
	if StemOf(spec, size, size) == v1.StemImageNet {
		return (size*256 + 112) / 224
	}
	return size
}
