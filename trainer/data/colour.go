package data

// Colours as torchvision.transforms.functional changes them in tensors of bytes: in float32, cut off and not rounded.

// blend is torchvision's _blend for a byte and another value: ratio·v + (1−ratio)·other within [0, 255].
func blend(v, other, ratio, rest float32) byte {
	return clip(float32(ratio*v) + float32(rest*other))
}

func clip(v float32) byte { return byte(min(max(v, 0), 255)) }

// ratios of a blend, as float32 like in PyTorch.
func ratios(factor float64) (ratio, rest float32) { return float32(factor), float32(1 - factor) }

// adjustBrightness is torchvision's adjust_brightness.
func adjustBrightness(img []byte, factor float64) { blendAll(img, 0, factor) }

// blendAll blends all bytes with one value.
func blendAll(img []byte, other float32, factor float64) {
	ratio, rest := ratios(factor)
	var table [256]byte
	for v := range table {
		table[v] = blend(float32(v), other, ratio, rest)
	}
	for i, v := range img {
		img[i] = table[v]
	}
}

// Weights of red, green and blue in the luminance of torchvision's rgb_to_grayscale for tensors.
var weightR, weightG, weightB = func() (r, g, b [256]float32) {
	for v := range 256 {
		r[v], g[v], b[v] = float32(0.2989)*float32(v), float32(0.587)*float32(v), float32(0.114)*float32(v)
	}
	return
}()

func luminance(r, g, b byte) byte { return byte(weightR[r] + weightG[g] + weightB[b]) }

// adjustContrast is torchvision's adjust_contrast: a blend with the mean luminance.
func adjustContrast(img []byte, c int, factor float64) {
	sum := 0
	if c == 1 {
		for _, v := range img {
			sum += int(v)
		}
	} else {
		for i := 0; i+2 < len(img); i += 3 {
			sum += int(luminance(img[i], img[i+1], img[i+2]))
		}
	}
	blendAll(img, float32(sum)/float32(len(img)/c), factor)
}

// adjustSaturation is torchvision's adjust_saturation: a blend with the grey image.
func adjustSaturation(img []byte, c int, factor float64) {
	if c == 1 {
		return
	}
	ratio, rest := ratios(factor)
	var colour, grey [256]float32
	for v := range 256 {
		colour[v], grey[v] = ratio*float32(v), rest*float32(v)
	}
	for i := 0; i+2 < len(img); i += 3 {
		p := img[i : i+3 : i+3]
		l := grey[luminance(p[0], p[1], p[2])]
		p[0], p[1], p[2] = clip(colour[p[0]]+l), clip(colour[p[1]]+l), clip(colour[p[2]]+l)
	}
}

// sharpen is torchvision's adjust_sharpness: a blend with the image smoothed by [1 1 1; 1 5 1; 1 1 1]/13. The outermost
// pixels are blended with themselves.
func sharpen(dst, src []byte, h, w, c int, factor float64) {
	copy(dst, src)
	if h <= 2 || w <= 2 {
		return
	}
	ratio, rest := ratios(factor)
	stride := w * c
	for i, v := range src {
		y, x := i/stride, i%stride
		smooth := v
		if y > 0 && y < h-1 && x >= c && x < stride-c {
			up, down := src[i-stride-c:i-stride+c+1], src[i+stride-c:i+stride+c+1]
			sum := int(up[0]) + int(up[c]) + int(up[2*c]) + int(down[0]) + int(down[c]) + int(down[2*c]) +
				int(src[i-c]) + int(src[i+c]) + 5*int(v)
			smooth = byte((2*sum + 13) / 26) // to the nearest; there are no ties
		}
		dst[i] = blend(float32(v), float32(smooth), ratio, rest)
	}
}

// autoContrast is torchvision's autocontrast: the range of each channel becomes [0, 255].
func autoContrast(img []byte, c int) {
	for k := range c {
		low, high := byte(255), byte(0)
		for i := k; i < len(img); i += c {
			low, high = min(low, img[i]), max(high, img[i])
		}
		if low == high {
			continue
		}
		scale := float32(1/float32(high-low)) * 255 // so PyTorch divides a number by a tensor
		for i := k; i < len(img); i += c {
			img[i] = clip(float32(img[i]-low) * scale)
		}
	}
}

// equalize is torchvision's equalize: the histogram of each channel becomes even.
func equalize(img []byte, c int) {
	for k := range c {
		var histogram [256]int
		for i := k; i < len(img); i += c {
			histogram[img[i]]++
		}
		last := 255
		for histogram[last] == 0 {
			last--
		}
		step := (len(img)/c - histogram[last]) / 255
		if step == 0 {
			continue
		}
		var table [256]byte
		sum := 0
		for v := range table {
			table[v] = byte(min((sum+step/2)/step, 255))
			sum += histogram[v]
		}
		for i := k; i < len(img); i += c {
			img[i] = table[img[i]]
		}
	}
}
