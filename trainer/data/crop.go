package data

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

// cropFlipReflect is cropFlip with padding_mode="reflect". padding is less than h and w.
func cropFlipReflect(dst, src []byte, h, w, c, padding int, at window) {
	dx := at.left - padding
	x0, x1 := max(0, -dx), min(w, w-dx)
	for y := range h {
		row := dst[y*w*c : (y+1)*w*c]
		from := src[reflected(y+at.top-padding, h)*w*c:]
		copy(row[x0*c:x1*c], from[(x0+dx)*c:])
		for x := range x0 {
			copy(row[x*c:(x+1)*c], from[reflected(x+dx, w)*c:])
		}
		for x := x1; x < w; x++ {
			copy(row[x*c:(x+1)*c], from[reflected(x+dx, w)*c:])
		}
		if at.flip {
			mirror(row, c)
		}
	}
}

// reflected is the index in [0, n) that i in (-n, 2n-1) mirrors to at the outermost pixels, which are not repeated.
func reflected(i, n int) int {
	switch {
	case i < 0:
		return -i
	case i >= n:
		return 2*(n-1) - i
	}
	return i
}

// mirror reverses the order of the pixels of a row, c bytes each.
func mirror(row []byte, c int) {
	if c == 3 {
		for i, j := 0, len(row)-3; i < j; i, j = i+3, j-3 {
			a, b := row[i:i+3:i+3], row[j:j+3:j+3]
			a[0], a[1], a[2], b[0], b[1], b[2] = b[0], b[1], b[2], a[0], a[1], a[2]
		}
		return
	}
	for i, j := 0, len(row)-c; i < j; i, j = i+c, j-c {
		for k := range c {
			row[i+k], row[j+k] = row[j+k], row[i+k]
		}
	}
}
