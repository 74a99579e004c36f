package data

import (
	"fmt"
	"slices"

	"github.com/resnet-operator/resnet-operator/trainer/data/internal/resample"
)

// kit is what a worker needs to make images: memory that it uses again and again.
type kit struct {
	content, part, wide, grey, taken, scratch []byte
	x, y                                      resample.Axis
	upright                                   bool // images are turned as their files say
}

// grown returns a slice of n bytes, in the memory of b if there is room; behind them there is room for one more.
func grown(b *[]byte, n int) []byte {
	*b = slices.Grow((*b)[:0], n+1)
	return (*b)[:n]
}

// mostKept is how much memory a kit keeps of each kind between two images.
const mostKept = 16 << 20

// tidy gives up what only a very large image has needed.
func (k *kit) tidy() {
	for _, b := range []*[]byte{&k.content, &k.part, &k.wide, &k.grey} {
		if cap(*b) > mostKept {
			*b = nil
		}
	}
}

// frame makes an image of c channels of a picture by a frame. at reads the pixels of a part of the picture, row by row
// and stride bytes apart.
//
// It is Pillow's crop of the box, resize by BILINEAR, and crop of the window: byte for byte, although only those pixels
// are looked at that the window needs.
func (k *kit) frame(dst []byte, c int, f frame, at func(rect) (pixels []byte, stride int, err error)) error {
	win := f.window
	need := rect{f.box.top + win.top, f.box.left + win.left, win.h, win.w}
	across, down := f.w != f.box.w, f.h != f.box.h
	if across {
		k.x.Set(f.box.w, f.w, win.left, win.left+win.w)
		from, to := k.x.Span()
		k.x.Shift(from)
		need.left, need.w = f.box.left+from, to-from
	}
	if down {
		k.y.Set(f.box.h, f.h, win.top, win.top+win.h)
		from, to := k.y.Span()
		k.y.Shift(from)
		need.top, need.h = f.box.top+from, to-from
	}
	pixels, stride, err := at(need)
	if err != nil {
		return err
	}
	if across && cap(pixels) == len(pixels) { // Rows reads one byte more
		pixels = append(grown(&k.part, len(pixels))[:0], pixels...)
	}
	if across {
		wide := dst
		if down {
			wide = grown(&k.wide, need.h*win.w*c)
		}
		resample.Rows(wide, pixels, need.h, stride, c, &k.x)
		pixels, stride = wide, win.w*c
	}
	switch {
	case down:
		resample.Columns(dst, pixels, win.w*c, stride, &k.y)
	case !across:
		for y := range win.h {
			copy(dst[y*win.w*c:(y+1)*win.w*c], pixels[y*stride:])
		}
	}
	return nil
}

// frameOf is frame for a picture in memory, of h×w×c bytes.
func (k *kit) frameOf(dst, picture []byte, h, w, c int, choose framing) error {
	return k.frame(dst, c, choose(h, w), func(r rect) ([]byte, int, error) {
		return picture[(r.top*w+r.left)*c : ((r.top+r.h-1)*w+r.left+r.w)*c], w * c, nil
	})
}

// mostOblong is how many times longer than wide a picture may be that is resized to a square.
const mostOblong = 100

// decode makes an RGB image of an encoded one, by a frame that is chosen when its size is known.
func (k *kit) decode(content []byte, choose framing, place func(f frame) (dst []byte, err error)) error {
	d, h, w, err := decoderOf(content)
	if err != nil {
		return err
	}
	turned := 1
	if k.upright {
		if turned = orientation(content); turned >= 5 {
			h, w = w, h
		}
	}
	f := choose(h, w)
	if f.window != f.box && max(h, w)/min(h, w) > mostOblong {
		return fmt.Errorf("has %d×%d pixels: that cannot be resized to a square", w, h)
	}
	dst, err := place(f)
	if err != nil {
		return err
	}
	err = k.frame(dst, 3, f, func(r rect) ([]byte, int, error) {
		if d.part != nil && turned == 1 {
			k.part, err = d.part(content, r, grown(&k.part, 3*r.h*r.w))
			return k.part, 3 * r.w, err
		}
		all, err := d.decode(content)
		if err != nil {
			return nil, 0, err
		}
		all = all.oriented(turned)
		return all.rgb[3*(r.top*w+r.left) : 3*((r.top+r.h-1)*w+r.left+r.w)], 3 * w, nil
	})
	return advise(err)
}
