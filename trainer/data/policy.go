package data

import (
	"math"
	"math/rand/v2"
)

// The operations of automatic augmentation as torchvision.transforms.autoaugment applies them to tensors of bytes: nearest
// neighbours, black where there was no image. TrivialAugmentWide (Müller and Hutter, 2021) is one of the first fourteen,
// with one of 31 magnitudes.

type policyOp int

const (
	opIdentity policyOp = iota
	opShearX
	opShearY
	opTranslateX
	opTranslateY
	opRotate
	opBrightness
	opColor
	opContrast
	opSharpness
	opPosterize
	opSolarize
	opAutoContrast
	opEqualize
	trivialOps // as many has TrivialAugmentWide
	opInvert   = trivialOps
	policyOps  = trivialOps + 1
)

const policyBins = 31

// policyRange says between which magnitudes the bins of an operation lie, evenly, and whether half of the draws are
// negated. Operations without a magnitude are missing.
var policyRange = map[policyOp]struct {
	from, to float64
	signed   bool
}{
	opShearX:     {0, 0.99, true},
	opShearY:     {0, 0.99, true},
	opTranslateX: {0, 32, true},
	opTranslateY: {0, 32, true},
	opRotate:     {0, 135, true},
	opBrightness: {0, 0.99, true},
	opColor:      {0, 0.99, true},
	opContrast:   {0, 0.99, true},
	opSharpness:  {0, 0.99, true},
	opPosterize:  {8, 2, false},
	opSolarize:   {255, 0, false},
}

// policyMagnitudes holds the magnitude of each bin.
var policyMagnitudes = func() (m [trivialOps][policyBins]float64) {
	for op, r := range policyRange {
		for bin := range policyBins {
			m[op][bin] = float64(linspace(r.from, r.to, policyBins, bin))
			if op == opPosterize { // whole bits
				m[op][bin] = 8 - math.RoundToEven(float64(bin)/5)
			}
		}
	}
	return m
}()

// linspace is element i of torch.linspace(from, to, n), to the nearest float32. PyTorch's last bit depends on the width
// of the processor's vectors.
func linspace(from, to float64, n, i int) float32 {
	return float32(from + (to-from)*float64(i)/float64(n-1))
}

// policyChoice is an operation and its magnitude.
type policyChoice struct {
	op        policyOp
	magnitude float64
}

// policy draws operations, which are applied one after the other.
type policy interface {
	draw(g *rand.PCG) []policyChoice
}

// trivialAugment is TrivialAugmentWide.
type trivialAugment struct{}

// draw draws as torchvision does: the operation, the bin, the sign.
func (trivialAugment) draw(g *rand.PCG) []policyChoice {
	c := policyChoice{op: policyOp(below(g, int(trivialOps)))}
	if r, ok := policyRange[c.op]; ok {
		c.magnitude = policyMagnitudes[c.op][below(g, policyBins)]
		if r.signed && below(g, 2) == 1 {
			c.magnitude = -c.magnitude
		}
	}
	return []policyChoice{c}
}

// applyPolicy writes the varied src to dst.
func (a *augmenter) applyPolicy(dst, src []byte, p policyChoice) {
	m := p.magnitude
	switch p.op {
	case opShearX: // around the upper left corner
		affine(dst, src, a.h, a.w, a.c, shearX(m, a.h))
	case opShearY:
		affine(dst, src, a.h, a.w, a.c, shearY(m, a.w))
	case opTranslateX:
		translate(dst, src, a.h, a.w, a.c, 0, int(m))
	case opTranslateY:
		translate(dst, src, a.h, a.w, a.c, int(m), 0)
	case opRotate:
		affine(dst, src, a.h, a.w, a.c, rotation(m))
	case opSharpness:
		sharpen(dst, src, a.h, a.w, a.c, 1+m)
	default:
		copy(dst, src)
		recolour(dst, a.c, p)
	}
}

// recolour applies an operation that looks at no neighbours, in place.
func recolour(img []byte, c int, p policyChoice) {
	m := p.magnitude
	switch p.op {
	case opBrightness:
		adjustBrightness(img, 1+m)
	case opColor:
		adjustSaturation(img, c, 1+m)
	case opContrast:
		adjustContrast(img, c, 1+m)
	case opPosterize:
		mask := byte(0xff) << (8 - int(m))
		for i := range img {
			img[i] &= mask
		}
	case opSolarize:
		for i, v := range img {
			if float64(v) >= m {
				img[i] = 255 - v
			}
		}
	case opAutoContrast:
		autoContrast(img, c)
	case opEqualize:
		equalize(img, c)
	case opInvert:
		for i, v := range img {
			img[i] = 255 - v
		}
	}
}
