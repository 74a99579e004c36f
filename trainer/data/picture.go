package data

import (
	"image"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Picture makes of any picture what an image of a data set of this format looks like: height×width×channels bytes. It is
// resized and cut as in an ImageFolder. For MNIST and FashionMNIST, whose images are grey, it gets their padding too; with
// three channels all are the same, as ToChannels makes them.
func Picture(im image.Image, format v1.DatasetFormat, height, width, channels int) []byte {
	if format != v1.MNIST && format != v1.FashionMNIST {
		pixels := resizeCrop(toRGB(im), height, width).rgb
		if channels == 1 {
			return toGrey(pixels)
		}
		return pixels
	}
	h, w := height-2*mnistPadding, width-2*mnistPadding
	picture := Images{N: 1, H: height, W: width, C: 1}
	picture.Pixels = pad(toGrey(resizeCrop(toRGB(im), h, w).rgb), 1, h, w, mnistPadding)
	if channels != 1 {
		picture.toChannels(channels)
	}
	return picture.Pixels
}

// toGrey is Pillow's convert("L"): the luma of ITU-R 601-2.
func toGrey(rgb []byte) []byte {
	out := make([]byte, len(rgb)/3)
	for i := range out {
		p := rgb[3*i : 3*i+3]
		out[i] = byte((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16)
	}
	return out
}
