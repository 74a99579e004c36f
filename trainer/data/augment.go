package data

import (
	"math"
	"math/rand/v2"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// augmenter varies images of one size, h×w×c bytes.
type augmenter struct {
	h, w, c int
	crop    *randomResizedCrop // nil: none
	padding int
	reflect bool
	flip    bool
	policy  policy // nil: none
	jitter  jitter
	erasing *randomErasing // nil: none
	cutout  int
	// fill is the mean colour, to the nearest byte: once normalised it is not quite zero, but at most 0.5/255/Std.
	fill [3]byte
}

// newAugmenter checks a recipe against the images of d.
func newAugmenter(d *Dataset, aug v1.AugmentationSpec) (*augmenter, error) {
	a := &augmenter{h: d.Train.H, w: d.Train.W, c: d.Train.C}
	if aug.RandomResizedCrop != nil {
		a.crop = newRandomResizedCrop(aug.RandomResizedCrop, a.h, a.w)
	} else if aug.RandomCropPadding != nil {
		a.padding = int(*aug.RandomCropPadding)
	}
	a.reflect = aug.PaddingMode == v1.PaddingReflect
	if smallest := min(a.h, a.w); a.reflect && a.padding >= smallest {
		return nil, exit.Errorf(contract.ExitConfig,
			"spec.training.augmentation.randomCropPadding: %d pixels cannot be reflected in images of %d×%d: set it below %d or paddingMode to Constant",
			a.padding, a.h, a.w, smallest)
	}
	a.flip = aug.Flips(v1.DatasetFormat(d.Name))
	a.policy = policyOf(aug, a.h, a.w)
	if aug.RandomErasing != nil {
		a.erasing = newRandomErasing(aug.RandomErasing, a.h, a.w)
	}
	if aug.ColorJitter != nil {
		a.jitter = jitter{*aug.ColorJitter}
	}
	a.cutout = int(aug.Cutout)
	for i, m := range d.Mean {
		a.fill[i] = byte(math.Round(float64(m) * 255))
	}
	return a, nil
}

// policyOf is the automatic augmentation of images of h×w pixels.
func policyOf(aug v1.AugmentationSpec, h, w int) policy {
	switch aug.Policy {
	case v1.TrivialAugmentWide:
		return trivialAugment{}
	case v1.AutoAugmentCIFAR10:
		return autoAugment{bins{h, w, 10}, cifar10Policies}
	case v1.AutoAugmentImageNet:
		return autoAugment{bins{h, w, 10}, imageNetPolicies}
	case v1.RandAugment:
		r := randAugment{bins{h, w, 31}, 2, 9}
		if spec := aug.RandAugment; spec != nil {
			if spec.NumOps != nil {
				r.ops = int(*spec.NumOps)
			}
			if spec.Magnitude != nil {
				r.bin = int(*spec.Magnitude)
			}
		}
		return r
	}
	return nil
}

// choice is all that is random about one image in one epoch, behind the random resized crop.
type choice struct {
	window
	policy     []policyChoice
	jitter     jitterChoice
	erased     rect
	cutY, cutX int
}

// window is what torchvision's RandomCrop(size, padding) and RandomHorizontalFlip draw for one image.
type window struct {
	top, left int // in [0, 2·padding]
	flip      bool
}

// draw draws a window as Compose([RandomCrop(size, padding), RandomHorizontalFlip(0.5)]) does, in its order.
func draw(g *rand.PCG, padding int, flip bool) (w window) {
	w.top, w.left = padding, padding
	if padding > 0 {
		w.top, w.left = below(g, 2*padding+1), below(g, 2*padding+1)
	}
	if flip {
		w.flip = below(g, 2) == 1
	}
	return w
}

// choose draws for one image, after its random resized crop. The window comes first, so that it is the same with and without the rest.
func (a *augmenter) choose(g *rand.PCG) (c choice) {
	c.window = draw(g, a.padding, a.flip)
	if a.policy != nil {
		c.policy = a.policy.draw(g)
	}
	if a.jitter.on() {
		c.jitter = a.jitter.draw(g)
	}
	if a.erasing != nil {
		c.erased = a.erasing.draw(g)
	}
	if a.cutout > 0 {
		c.cutY, c.cutX = below(g, a.h), below(g, a.w)
	}
	return c
}

// apply varies one image: policy, crop, flip, colour jitter, erasing, cutout. scratch has the size of two images. src is
// not changed.
func (a *augmenter) apply(dst, src, scratch []byte, c choice) {
	to, next := scratch[:len(dst)], scratch[len(dst):]
	for _, p := range c.policy {
		if p.op != opIdentity {
			a.applyPolicy(to, src, p)
			src, to, next = to, next, to
		}
	}
	if a.reflect {
		cropFlipReflect(dst, src, a.h, a.w, a.c, a.padding, c.window)
	} else {
		cropFlip(dst, src, a.h, a.w, a.c, a.padding, c.window)
	}
	if a.jitter.on() {
		applyJitter(dst, a.c, c.jitter)
	}
	erase(dst, a.w, a.c, c.erased, a.fill)
	if a.cutout > 0 {
		cutout(dst, a.h, a.w, a.c, a.cutout, c.cutY, c.cutX, a.fill)
	}
}

// cutout fills the square of the given side around (y, x), as far as it lies in the image.
func cutout(img []byte, h, w, c, side, y, x int, fill [3]byte) {
	y0, x0 := y-side/2, x-side/2
	x1 := min(w, x0+side)
	for r := max(0, y0); r < min(h, y0+side); r++ {
		for i := max(0, x0); i < x1; i++ {
			copy(img[(r*w+i)*c:], fill[:c])
		}
	}
}
