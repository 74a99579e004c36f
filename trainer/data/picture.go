package data

import (
	"image"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Picture makes of any picture what an image of a data set of this format looks like: height×width×channels bytes. It is
// resized and cut as in an ImageFolder, with a shorter side of so many pixels in between; 0: as few as cover the image. For MNIST and FashionMNIST, whose images are grey, it gets their padding too; with
// three channels all are the same, as ToChannels makes them.
func Picture(im image.Image, format v1.DatasetFormat, shorter, height, width, channels int) []byte {
	if format != v1.MNIST && format != v1.FashionMNIST {
		pixels := resizeCrop(toRGB(im), shorter, height, width).rgb
		if channels == 1 {
			return toGrey(pixels)
		}
		return pixels
	}
	h, w := height-2*mnistPadding, width-2*mnistPadding
	picture := Images{N: 1, H: height, W: width, C: 1}
	picture.Pixels = pad(toGrey(resizeCrop(toRGB(im), 0, h, w).rgb), 1, h, w, mnistPadding)
	if channels != 1 {
		picture.toChannels(channels)
	}
	return picture.Pixels
}

// toGrey makes an image grey.
func toGrey(rgb []byte) []byte {
	out := make([]byte, len(rgb)/3)
	grey(out, rgb)
	return out
}
