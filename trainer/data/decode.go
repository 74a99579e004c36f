package data

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // for image.Decode
	_ "image/png"
	"io"
	"strings"
)

const (
	// mostPixels of one image; Pillow calls more than this a decompression bomb.
	mostPixels = 1 << 30 / 12
	// mostImageBytes of one file.
	mostImageBytes = 64 << 20
)

// raster is an image of h×w×3 bytes.
type raster struct {
	h, w int
	rgb  []byte
}

// decodeImage reads a PNG or JPEG and makes it RGB as Pillow's convert("RGB") does: transparency is dropped, and of 16
// bits the upper eight are taken. The orientation in EXIF is not looked at, as in torchvision.datasets.
func decodeImage(content []byte) (r raster, err error) {
	if len(content) == 0 {
		return r, errors.New("is empty")
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(content))
	if errors.Is(err, image.ErrFormat) {
		return r, fmt.Errorf("is neither PNG nor JPEG: it begins with % x", content[:min(4, len(content))])
	}
	if err != nil {
		return r, cutOff(err)
	}
	if config.Width <= 0 || config.Height <= 0 || config.Width > mostPixels/config.Height {
		return r, fmt.Errorf("says that it has %d×%d pixels: at most %d in all are read", config.Width, config.Height, mostPixels)
	}
	img, _, err := image.Decode(bytes.NewReader(content))
	if err != nil {
		return r, cutOff(err)
	}
	return toRGB(img), nil
}

// cutOff recognises the end of a file, which image/png hides in a text.
func cutOff(err error) error {
	if strings.HasSuffix(err.Error(), io.ErrUnexpectedEOF.Error()) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func toRGB(img image.Image) raster {
	b := img.Bounds()
	r := raster{b.Dy(), b.Dx(), make([]byte, b.Dy()*b.Dx()*3)}
	at := pixelsOf(img)
	for y := range r.h {
		row := r.rgb[y*r.w*3 : (y+1)*r.w*3]
		for x := range r.w {
			row[3*x], row[3*x+1], row[3*x+2] = at(b.Min.X+x, b.Min.Y+y)
		}
	}
	return r
}

// pixelsOf returns a function that reads a pixel, not multiplied by its transparency.
func pixelsOf(img image.Image) func(x, y int) (r, g, b byte) {
	switch img := img.(type) {
	case *image.YCbCr:
		return func(x, y int) (byte, byte, byte) {
			c := img.COffset(x, y)
			return color.YCbCrToRGB(img.Y[img.YOffset(x, y)], img.Cb[c], img.Cr[c])
		}
	case *image.Gray:
		return func(x, y int) (byte, byte, byte) {
			v := img.Pix[img.PixOffset(x, y)]
			return v, v, v
		}
	case *image.RGBA: // of a PNG without transparency
		return func(x, y int) (byte, byte, byte) {
			p := img.Pix[img.PixOffset(x, y):]
			return p[0], p[1], p[2]
		}
	case *image.NRGBA:
		return func(x, y int) (byte, byte, byte) {
			p := img.Pix[img.PixOffset(x, y):]
			return p[0], p[1], p[2]
		}
	case *image.NRGBA64:
		return func(x, y int) (byte, byte, byte) {
			p := img.Pix[img.PixOffset(x, y):]
			return p[0], p[2], p[4]
		}
	}
	return func(x, y int) (byte, byte, byte) {
		c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
		return c.R, c.G, c.B
	}
}
