package data

import "math/rand/v2"

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

// cropFlip pads an h×w×c image with zeros on each side, cuts out an h×w window, and mirrors it if asked to. Zero is the
// value of the pixel before it is normalised, as when torchvision's RandomCrop comes before ToTensor and Normalize.
func cropFlip(dst, src []byte, h, w, c, padding int, at window) {
	// Columns [x0, x1) of dst come from src, dx columns to the right.
	dx := at.left - padding
	x0, x1 := min(w, max(0, -dx)), max(0, min(w, w-dx))
	for y := range h {
		row := dst[y*w*c : (y+1)*w*c]
		sy := y + at.top - padding
		if sy < 0 || sy >= h || x0 >= x1 {
			clear(row)
			continue
		}
		clear(row[:x0*c])
		copy(row[x0*c:x1*c], src[(sy*w+x0+dx)*c:])
		clear(row[x1*c:])
		if at.flip {
			mirror(row, c)
		}
	}
}

// mirror reverses the order of the pixels of a row, c bytes each.
func mirror(row []byte, c int) {
	for i, j := 0, len(row)-c; i < j; i, j = i+c, j-c {
		for k := range c {
			row[i+k], row[j+k] = row[j+k], row[i+k]
		}
	}
}
