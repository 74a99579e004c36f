package data

import "math"

// matrix takes the coordinates of a pixel of the result, measured from the middle of the image, to those in the source:
// x' = m[0]·x + m[1]·y + m[2], y' = m[3]·x + m[4]·y + m[5].
type matrix [6]float64

// rotation turns an image counter-clockwise around its middle (torchvision's rotate).
func rotation(degrees float64) matrix {
	sin, cos := math.Sincos(-degrees * math.Pi / 180)
	return matrix{cos, sin, 0, -sin, cos, 0}
}

// shearX is torchvision's affine with shear=[degrees(atan(m)), 0] and center=[0, 0], the upper left corner.
func shearX(m float64, h int) matrix { return matrix{1, m, m * float64(h) * 0.5, 0, 1, 0} }

// shearY is the same with shear=[0, degrees(atan(m))].
func shearY(m float64, w int) matrix { return matrix{1, 0, 0, m, 1, m * float64(w) * 0.5} }

// affine samples the nearest neighbour, and zero outside of src. It does the arithmetic of torchvision's affine_grid
// and grid_sample in float32, step by step, since half a pixel decides.
func affine(dst, src []byte, h, w, c int, m matrix) {
	halfW, halfH := float32(w)/2, float32(h)/2
	ax, bx, cx := float32(m[0])/halfW, float32(m[1])/halfW, float32(m[2])/halfW
	ay, by, cy := float32(m[3])/halfH, float32(m[4])/halfH, float32(m[5])/halfH
	for y := range h {
		gy := float32(y) + 0.5 - halfH
		row := dst[y*w*c : (y+1)*w*c]
		for x := range w {
			gx := float32(x) + 0.5 - halfW
			sx := nearest(fma(gy, bx, gx*ax)+cx, halfW)
			sy := nearest(fma(gy, by, gx*ay)+cy, halfH)
			if uint(sx) >= uint(w) || uint(sy) >= uint(h) {
				for k := range c {
					row[x*c+k] = 0
				}
				continue
			}
			from := (sy*w + sx) * c
			for k := range c {
				row[x*c+k] = src[from+k]
			}
		}
	}
}

// fma is x·y + z, rounded once (but for one case in 2²⁹).
func fma(x, y, z float32) float32 { return float32(float64(x)*float64(y) + float64(z)) }

// nearest takes a coordinate in [-1, 1] to a pixel, as grid_sample(mode="nearest", align_corners=False) does.
func nearest(v, half float32) int {
	return int(math.RoundToEven(float64(float32((v+1)*half) - 0.5)))
}

// translate moves an image by whole pixels, down and to the right.
func translate(dst, src []byte, h, w, c, down, right int) {
	cropFlip(dst, src, h, w, c, 0, window{-down, -right, false})
}
