package data

import (
	"image"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Picture makes of any picture what an image of a data set of this format looks like: height×width×channels bytes. It is
// resized and cut as in an ImageFolder; for MNIST and FashionMNIST it gets the padding that their images have.
func Picture(im image.Image, format v1.DatasetFormat, height, width, channels int) []byte {
	padding := 0
	if format == v1.MNIST || format == v1.FashionMNIST {
		padding = mnistPadding
	}
	h, w := height-2*padding, width-2*padding
	pixels := resizeCrop(toRGB(im), h, w).rgb
	if channels == 3 {
		return pixels
	}
	return pad(grey(pixels), 1, h, w, padding)
}

// grey is Pillow's convert("L"): the luma of ITU-R 601-2.
func grey(rgb []byte) []byte {
	out := make([]byte, len(rgb)/3)
	for i := range out {
		p := rgb[3*i : 3*i+3]
		out[i] = byte((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16)
	}
	return out
}
