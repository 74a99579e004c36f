package data

import (
	"math"
	"math/rand/v2"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// randomErasing is torchvision's RandomErasing(p, scale, ratio, value=0) behind Normalize, in images of h×w pixels.
type randomErasing struct {
	h, w        int
	probability float32
	// The part of the area, and the logarithms of the aspect ratios.
	from, to, logLow, logHigh float32
}

func newRandomErasing(spec *v1.RandomErasingSpec, h, w int) *randomErasing {
	e := &randomErasing{h: h, w: w, probability: 0.5}
	if spec.Probability != nil {
		e.probability = float32(*spec.Probability)
	}
	scale, ratio := []float64{0.02, 0.33}, []float64{0.3, 3.3}
	if len(spec.Scale) == 2 {
		scale = spec.Scale
	}
	if len(spec.Ratio) == 2 {
		ratio = spec.Ratio
	}
	e.from, e.to, e.logLow, e.logHigh = float32(scale[0]), float32(scale[1]), logOf(ratio[0]), logOf(ratio[1])
	return e
}

// draw draws as RandomErasing does: whether, and the box by get_params. It is empty if there is none.
func (e *randomErasing) draw(g *rand.PCG) (r rect) {
	if unit24(g) >= e.probability {
		return r
	}
	area := float64(e.h * e.w)
	for range 10 {
		target := area * float64(between(g, e.from, e.to))
		ratio := expOf(between(g, e.logLow, e.logHigh))
		r.h, r.w = int(math.RoundToEven(math.Sqrt(target*ratio))), int(math.RoundToEven(math.Sqrt(target/ratio)))
		if r.h < e.h && r.w < e.w {
			r.top = below(g, e.h-r.h+1)
			r.left = below(g, e.w-r.w+1)
			return r
		}
	}
	return rect{}
}

// erase fills a part of an image of w×c bytes a row.
func erase(img []byte, w, c int, r rect, fill [3]byte) {
	for y := r.top; y < r.top+r.h; y++ {
		for x := r.left; x < r.left+r.w; x++ {
			copy(img[(y*w+x)*c:], fill[:c])
		}
	}
}
