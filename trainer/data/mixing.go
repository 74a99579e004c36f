package data

import (
	"math"
	"math/rand/v2"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Mix is how the images of a batch are mixed, each with the one before it in the batch, and the first with the last:
// torchvision.transforms.v2.MixUp or CutMix. The zero value mixes nothing.
type Mix struct {
	// Lambda is the share of an image's own label in the loss; the other label has the rest.
	Lambda float64
	// Blend is the share of its own pixels (MixUp); 1 for CutMix.
	Blend float64
	// Top, Left, Bottom, Right is the box that is taken out of the other image (CutMix); empty for MixUp.
	Top, Left, Bottom, Right int
}

// mixer draws a Mix for every batch of images of h×w pixels.
type mixer struct {
	h, w          int
	mixUp, cutMix float64 // alpha; 0: not this one
}

// newMixer returns nil if batches are not mixed.
func newMixer(aug v1.AugmentationSpec, h, w int) *mixer {
	m := &mixer{h: h, w: w}
	alpha := func(spec *v1.MixSpec) float64 {
		switch {
		case spec == nil:
			return 0
		case spec.Alpha == nil:
			return 1
		}
		return *spec.Alpha
	}
	if m.mixUp, m.cutMix = alpha(aug.MixUp), alpha(aug.CutMix); m.mixUp == 0 && m.cutMix == 0 {
		return nil
	}
	return m
}

// mixStream is the first stream of the batches of an epoch; the streams before are for images and draws of whole epochs.
const mixStream = -1 << 32

// draw draws for a batch what RandomChoice([MixUp, CutMix]) of torchvision does, or one of them alone.
func (m *mixer) draw(seed int64, epoch int32, step int) Mix {
	g := stream(seed, epoch, mixStream-step)
	if m.mixUp > 0 && (m.cutMix == 0 || below(&g, 2) == 0) {
		lambda := beta(&g, m.mixUp)
		return Mix{Lambda: lambda, Blend: lambda}
	}
	lambda := beta(&g, m.cutMix)
	x, y := below(&g, m.w), below(&g, m.h)
	return CutMixBox(m.h, m.w, lambda, x, y)
}

// CutMixBox is what CutMix does in images of h×w pixels: its box around a pixel, whose area, where it lies inside, is what lambda becomes 1 without.
func CutMixBox(h, w int, lambda float64, x, y int) Mix {
	r := 0.5 * math.Sqrt(1-lambda)
	halfW, halfH := int(r*float64(w)), int(r*float64(h))
	m := Mix{Blend: 1, Left: max(x-halfW, 0), Top: max(y-halfH, 0), Right: min(x+halfW, w), Bottom: min(y+halfH, h)}
	m.Lambda = 1 - float64((m.Right-m.Left)*(m.Bottom-m.Top))/float64(w*h)
	return m
}

// beta draws from Beta(alpha, alpha), by Jöhnk (1964) up to alpha 1, above by Cheng's algorithm BB (1978).
func beta(g *rand.PCG, alpha float64) float64 {
	if alpha <= 1 {
		for {
			x, y := math.Log(open(g))/alpha, math.Log(open(g))/alpha
			most := max(x, y)
			if sum := most + math.Log(math.Exp(x-most)+math.Exp(y-most)); sum <= 0 {
				return math.Exp(x - sum)
			}
		}
	}
	slope := 1 / math.Sqrt(alpha)
	for {
		u, v := open(g), open(g)
		logit := slope * math.Log(u/(1-u))
		w, z := alpha*math.Exp(logit), u*u*v
		r := (alpha+1/slope)*logit - math.Log(4)
		if r+2*alpha*math.Log(2*alpha/(alpha+w)) >= math.Log(z) {
			return w / (alpha + w)
		}
	}
}

// open returns a number between 0 and 1, neither of which it is.
func open(g *rand.PCG) float64 { return (float64(g.Uint64()>>12) + 0.5) * 0x1p-52 }
