package data

import (
	"math/rand/v2"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// jitter is torchvision's ColorJitter.
type jitter struct{ v1.ColorJitterSpec }

func (j jitter) on() bool {
	return j.Brightness > 0 || j.Contrast > 0 || j.Saturation > 0 || j.Hue > 0
}

// The four adjustments, numbered as in torchvision.
const (
	jitterBrightness = iota
	jitterContrast
	jitterSaturation
	jitterHue
	jitters
)

// jitterChoice is the order of the adjustments and the factor of each; a factor that changes nothing is left out by
// applyJitter.
type jitterChoice struct {
	order  [jitters]int
	factor [jitters]float64
}

// draw draws as ColorJitter.get_params: the order, then brightness, contrast, saturation, hue.
func (j jitter) draw(g *rand.PCG) (c jitterChoice) {
	for i := range c.order {
		k := below(g, i+1)
		c.order[i] = c.order[k]
		c.order[k] = i
	}
	around := func(centre, spread float64) float64 {
		if spread == 0 {
			return centre
		}
		return centre - spread + 2*spread*float64(g.Uint64()>>11)/(1<<53)
	}
	c.factor = [jitters]float64{around(1, j.Brightness), around(1, j.Contrast), around(1, j.Saturation), around(0, j.Hue)}
	return c
}

// applyJitter changes the colours of an image of c channels in place.
func applyJitter(img []byte, c int, choice jitterChoice) {
	for _, which := range choice.order {
		switch f := choice.factor[which]; {
		case which == jitterHue && f != 0:
			adjustHue(img, c, f)
		case which == jitterHue, f == 1:
		case which == jitterBrightness:
			adjustBrightness(img, f)
		case which == jitterContrast:
			adjustContrast(img, c, f)
		case which == jitterSaturation:
			adjustSaturation(img, c, f)
		}
	}
}

// unit holds v/255.
var unit = func() (u [256]float32) {
	for v := range u {
		u[v] = float32(v) / 255
	}
	return u
}()

// adjustHue is torchvision's adjust_hue: the hue in HSV turns by factor, a part of the circle, in [-0.5, 0.5].
func adjustHue(img []byte, c int, factor float64) {
	if c == 1 {
		return
	}
	f := float32(factor)
	for i := 0; i+2 < len(img); i += 3 {
		p := img[i : i+3 : i+3]
		h, s, v := toHSV(p[0], p[1], p[2])
		h += f
		if h < 0 {
			h++
		} else if h >= 1 {
			h--
		}
		r, g, b := fromHSV(h, s, v)
		p[0], p[1], p[2] = byte(r*255), byte(g*255), byte(b*255)
	}
}

// toHSV returns numbers in [0, 1], by the operations of torchvision's _rgb2hsv on bytes divided by 255.
func toHSV(r, g, b byte) (h, s, v float32) {
	high, low := max(r, g, b), min(r, g, b)
	v = unit[high]
	if high == low {
		return 0, 0, v
	}
	span := v - unit[low]
	switch high {
	case r:
		h = (v-unit[b])/span - (v-unit[g])/span
	case g:
		h = 2 + (v-unit[r])/span - (v-unit[b])/span
	default:
		h = 4 + (v-unit[g])/span - (v-unit[r])/span
	}
	h = h/6 + 1
	if h >= 1 {
		h--
	}
	return h, span / v, v
}

// fromHSV is torchvision's _hsv2rgb, for h in [0, 1].
func fromHSV(h, s, v float32) (r, g, b float32) {
	h *= 6
	sector := int(h)
	f := h - float32(sector)
	p := v * (1 - s)
	q := v * (1 - float32(s*f))
	t := v * (1 - float32(s*(1-f)))
	switch sector {
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	case 5:
		return v, p, q
	default: // 0, and 6 where h was rounded up to 1
		return v, t, p
	}
}
