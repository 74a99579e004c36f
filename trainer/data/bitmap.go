package data

import (
	"bytes"
	"image"
	"image/gif"

	"golang.org/x/image/bmp"
)

func bmpSize(content []byte) (width, height int, err error) {
	config, err := bmp.DecodeConfig(bytes.NewReader(content))
	return config.Width, config.Height, cutOff(err)
}

func decodeBMP(content []byte) (raster, error) {
	im, err := bmp.Decode(bytes.NewReader(content))
	if err != nil {
		return raster{}, cutOff(err)
	}
	return toRGB(im), nil
}

func gifSize(content []byte) (width, height int, err error) {
	config, err := gif.DecodeConfig(bytes.NewReader(content))
	return config.Width, config.Height, cutOff(err)
}

// decodeGIF reads the first frame.
func decodeGIF(content []byte) (raster, error) {
	width, height, err := gifSize(content)
	if err != nil {
		return raster{}, err
	}
	im, err := gif.Decode(bytes.NewReader(content))
	if err != nil {
		return raster{}, cutOff(err)
	}
	return toRGB(im).onto(height, width, im.Bounds().Min), nil
}

// onto puts an image at a place of a larger one, which is black elsewhere.
func (r raster) onto(height, width int, at image.Point) raster {
	if r.h == height && r.w == width {
		return r
	}
	out := raster{height, width, make([]byte, 3*height*width)}
	for y := range r.h {
		copy(out.rgb[3*((at.Y+y)*width+at.X):], r.rgb[3*y*r.w:][:3*r.w])
	}
	return out
}
