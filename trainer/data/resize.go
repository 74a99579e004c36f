package data

import "math"

// resizeCrop is torchvision's Compose([Resize(size), CenterCrop(size)]) on Pillow images, bilinearly with antialias: the
// image becomes as small as still covers height×width, whose centre is cut out.
func resizeCrop(im raster, height, width int) raster {
	h, w := height, int(float64(height)*float64(im.w)/float64(im.h))
	if im.w*height <= im.h*width {
		h, w = int(float64(width)*float64(im.h)/float64(im.w)), width
	}
	im = resize(im, h, w)
	top, left := int(math.RoundToEven(float64(h-height)/2)), int(math.RoundToEven(float64(w-width)/2))
	out := raster{height, width, make([]byte, height*width*3)}
	for y := range height {
		copy(out.rgb[y*width*3:(y+1)*width*3], im.rgb[((top+y)*w+left)*3:])
	}
	return out
}

// resize is Pillow's Image.resize((w, h), BILINEAR): first the rows, then the columns, each in fixed-point numbers of 22
// bits behind the point (src/libImaging/Resample.c).
func resize(im raster, h, w int) raster {
	if w != im.w {
		wide := raster{im.h, w, make([]byte, im.h*w*3)}
		for x, k := range triangles(im.w, w) {
			for y := range im.h {
				k.sample(wide.rgb[(y*w+x)*3:], im.rgb[(y*im.w+k.first)*3:], 3)
			}
		}
		im = wide
	}
	if h != im.h {
		high := raster{h, w, make([]byte, h*w*3)}
		for y, k := range triangles(im.h, h) {
			for x := range w {
				k.sample(high.rgb[(y*w+x)*3:], im.rgb[(k.first*w+x)*3:], w*3)
			}
		}
		im = high
	}
	return im
}

const resizeBits = 22

// kernel holds the weights of the source pixels of one pixel of the result.
type kernel struct {
	first   int
	weights []int32
}

// triangles returns the kernels that take n pixels to m.
func triangles(n, m int) []kernel {
	scale := float64(n) / float64(m)
	support := max(scale, 1)
	kernels := make([]kernel, m)
	for i := range kernels {
		centre := (float64(i) + 0.5) * scale
		first := max(int(centre-support+0.5), 0)
		weights := make([]float64, min(int(centre+support+0.5), n)-first)
		sum := 0.0
		for k := range weights {
			weights[k] = max(1-math.Abs((float64(k+first)-centre+0.5)/support), 0)
			sum += weights[k]
		}
		fixed := make([]int32, len(weights))
		for k, w := range weights {
			fixed[k] = int32(0.5 + w/sum*(1<<resizeBits))
		}
		kernels[i] = kernel{first, fixed}
	}
	return kernels
}

// sample makes one RGB pixel of those that lie stride bytes apart.
func (k kernel) sample(dst, src []byte, stride int) {
	r, g, b := int32(1<<(resizeBits-1)), int32(1<<(resizeBits-1)), int32(1<<(resizeBits-1))
	for i, w := range k.weights {
		p := src[i*stride : i*stride+3 : i*stride+3]
		r, g, b = r+w*int32(p[0]), g+w*int32(p[1]), b+w*int32(p[2])
	}
	for c, v := range [3]int32{r, g, b} {
		dst[c] = byte(min(max(v>>resizeBits, 0), 255))
	}
}
