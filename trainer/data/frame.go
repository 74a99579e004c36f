package data

import (
	"math"
	"math/rand/v2"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// rect is a part of an image.
type rect struct{ top, left, h, w int }

// frame says how an image of the data set is made of a picture: the box is cut out and resized to h×w pixels, of which
// the window is taken.
type frame struct {
	box    rect
	h, w   int
	window rect
}

// framing chooses the frame in a picture of h×w pixels.
type framing func(h, w int) frame

// whole takes a picture as it is.
func whole(h, w int) frame {
	all := rect{0, 0, h, w}
	return frame{all, h, w, all}
}

// centred is torchvision's Compose([Resize(shorter), CenterCrop((height, width))]): the shorter side becomes so long, and
// the centre is cut out. shorter 0 is as long as still covers height×width.
func centred(shorter, height, width int) framing {
	return func(h, w int) frame {
		long := func(short, side, other int) int { return int(float64(short*other) / float64(side)) }
		f := frame{box: rect{0, 0, h, w}}
		switch {
		case shorter == 0 && w*height <= h*width:
			f.h, f.w = long(width, w, h), width
		case shorter == 0:
			f.h, f.w = height, long(height, h, w)
		case h <= w:
			f.h, f.w = shorter, long(shorter, h, w)
		default:
			f.h, f.w = long(shorter, w, h), shorter
		}
		middle := func(n, of int) int { return int(math.RoundToEven(float64(of-n) / 2)) }
		f.window = rect{middle(height, f.h), middle(width, f.w), height, width}
		return f
	}
}

// randomResizedCrop is torchvision's, of images of h×w pixels.
type randomResizedCrop struct {
	h, w     int
	from, to float64 // scale: the part of the picture's area
	// The aspect ratios, and their logarithms.
	narrow, wide       float64
	logNarrow, logWide float32
}

func newRandomResizedCrop(spec *v1.RandomResizedCropSpec, h, w int) *randomResizedCrop {
	c := &randomResizedCrop{h: h, w: w, from: 0.08, to: 1, narrow: 3. / 4, wide: 4. / 3}
	if len(spec.Scale) == 2 {
		c.from, c.to = spec.Scale[0], spec.Scale[1]
	}
	if len(spec.Ratio) == 2 {
		c.narrow, c.wide = spec.Ratio[0], spec.Ratio[1]
	}
	c.logNarrow, c.logWide = logOf(c.narrow), logOf(c.wide)
	return c
}

// draw draws a crop as RandomResizedCrop.get_params does, in its order and with its roundings.
func (c *randomResizedCrop) draw(g *rand.PCG, h, w int) frame {
	return frame{c.box(g, h, w), c.h, c.w, rect{0, 0, c.h, c.w}}
}

func (c *randomResizedCrop) box(g *rand.PCG, height, width int) rect {
	area := float64(height * width)
	for range 10 {
		target := area * float64(between(g, float32(c.from), float32(c.to)))
		ratio := expOf(between(g, c.logNarrow, c.logWide))
		w, h := int(math.RoundToEven(math.Sqrt(target*ratio))), int(math.RoundToEven(math.Sqrt(target/ratio)))
		if 0 < w && w <= width && 0 < h && h <= height {
			top := below(g, height-h+1)
			return rect{top, below(g, width-w+1), h, w}
		}
	}
	h, w := height, width // else the middle of the picture, as much as the ratios allow
	if in := float64(width) / float64(height); in < c.narrow {
		h = int(math.RoundToEven(float64(w) / c.narrow))
	} else if in > c.wide {
		w = int(math.RoundToEven(float64(h) * c.wide))
	}
	return rect{(height - h) / 2, (width - w) / 2, h, w}
}

// between returns a number in [from, to), with the steps and roundings of torch.empty(1).uniform_(from, to).
func between(g *rand.PCG, from, to float32) float32 {
	return float32(unit24(g)*(to-from)) + from
}

// unit24 returns a number in [0, 1) of 24 bits.
func unit24(g *rand.PCG) float32 { return float32(g.Uint64()>>40) / (1 << 24) }

// logOf is torch.log of a float32.
func logOf(v float64) float32 { return float32(math.Log(float64(float32(v)))) }

// expOf is torch.exp of a float32.
func expOf(v float32) float64 { return float64(float32(math.Exp(float64(v)))) }
