package data

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/resnet-operator/resnet-operator/trainer/data/internal/jpeg"
)

const (
	// mostPixels of one image; Pillow calls more than this a decompression bomb.
	mostPixels = 1 << 30 / 12
	// mostImageBytes of one file.
	mostImageBytes = 64 << 20
	// jpegMemory is for the coefficients of a progressive JPEG of so many pixels.
	jpegMemory = 1 << 30
)

// raster is an image of h×w×3 bytes.
type raster struct {
	h, w int
	rgb  []byte
}

// decoder reads one kind of images. size comes first: it takes no memory for pixels.
type decoder struct {
	size   func(content []byte) (width, height int, err error)
	decode func(content []byte) (raster, error)
	// part decodes a part of the image into the given memory, to the bytes that decode gives there; nil if it cannot.
	part func(content []byte, r rect, rgb []byte) ([]byte, error)
}

// decoders are of the kinds that torchvision's ImageFolder reads, and GIF.
var decoders = map[string]decoder{
	pngImage:  {pngSize, decodePNG, nil},
	jpegImage: {jpegSize, decodeJPEG, decodePart},
	webpImage: {webpSize, decodeWebP, nil},
	bmpImage:  {bmpSize, decodeBMP, nil},
	tiffImage: {tiffSize, decodeTIFF, nil},
	netpbm:    {netpbmSize, decodeNetpbm, nil},
	gifImage:  {gifSize, decodeGIF, nil},
}

// ImageKinds are the images that Decode reads, for a message.
const ImageKinds = "PNG, JPEG, WebP, BMP, TIFF, PPM, PGM or GIF"

// Decode reads an image of one of the ImageKinds: as an image of a data set is read, to the bytes that Pillow's
// convert("RGB") makes of it; upright ones are turned as the file says. Its errors have no exit code.
func Decode(content []byte, upright bool) (image.Image, error) {
	r, err := decodeImage(content)
	if err != nil {
		return nil, err
	}
	if upright {
		r = r.oriented(orientation(content))
	}
	im := image.NewNRGBA(image.Rect(0, 0, r.w, r.h))
	for i := range r.w * r.h {
		copy(im.Pix[4*i:4*i+3], r.rgb[3*i:])
		im.Pix[4*i+3] = 0xff
	}
	return im, nil
}

// ReadImage reads a file, and tells by its first bytes whether it is an image that Decode reads, if it is not damaged.
func ReadImage(r io.Reader) (content []byte, err error) {
	if content, err = readAtMost(r, mostImageBytes); err == nil {
		_, _, _, err = decoderOf(content)
	}
	return content, err
}

// decodeImage reads an image and makes it RGB as Pillow's convert("RGB") does: transparency is dropped, and of 16 bits the
// upper eight are taken. The orientation in EXIF is not looked at, as in torchvision.datasets.
func decodeImage(content []byte) (raster, error) {
	d, _, _, err := decoderOf(content)
	if err != nil {
		return raster{}, err
	}
	r, err := d.decode(content)
	return r, advise(err)
}

// advise tells what to do about images of a kind that is read in its common forms only.
func advise(err error) error {
	var unsupported tiff.UnsupportedError
	if errors.As(err, &unsupported) || errors.Is(err, bmp.ErrUnsupported) {
		return fmt.Errorf("%w: convert it to PNG", err)
	}
	return err
}

// decoderOf chooses the decoder by the first bytes, as Pillow does: not by the name, and not by what any package has
// registered with package image. Images that say that they are too large are refused before memory is taken for them.
func decoderOf(content []byte) (d decoder, height, width int, err error) {
	head := content[:min(kindBytes, len(content))]
	d, ok := decoders[kindOf(head)]
	if !ok {
		if len(content) == 0 {
			return d, 0, 0, errors.New("is empty")
		}
		return d, 0, 0, fmt.Errorf("is not %s: %s", ImageKinds, describe(head))
	}
	width, height, err = d.size(content)
	err = advise(err)
	if err == nil && (width <= 0 || height <= 0 || width > mostPixels/height) {
		err = fmt.Errorf("says that it has %d×%d pixels: at most %d in all are read", width, height, mostPixels)
	}
	return d, height, width, err
}

func jpegSize(content []byte) (width, height int, err error) {
	width, height, _, err = jpeg.Size(content)
	return width, height, err
}

func decodeJPEG(content []byte) (r raster, err error) {
	if r.w, r.h, err = jpegSize(content); err != nil {
		return r, err
	}
	r.rgb, err = decodePart(content, rect{0, 0, r.h, r.w}, make([]byte, 3*r.h*r.w))
	return r, err
}

// decodePart decodes a part of a JPEG into rgb.
func decodePart(content []byte, r rect, rgb []byte) ([]byte, error) {
	_, _, channels, err := jpeg.Size(content)
	if err != nil {
		return nil, err
	}
	pixels := rgb[:r.h*r.w*min(channels, 3)]
	if channels == 4 {
		pixels = make([]byte, 4*r.h*r.w)
	}
	if err := jpeg.Decode(content, jpegMemory, jpeg.Region{Left: r.left, Top: r.top, Width: r.w, Height: r.h}, pixels); err != nil {
		return nil, err
	}
	switch channels {
	case 1:
		for i := len(pixels) - 1; i >= 0; i-- {
			rgb[3*i], rgb[3*i+1], rgb[3*i+2] = pixels[i], pixels[i], pixels[i]
		}
	case 4:
		cmykToRGB(rgb[:0], pixels)
	}
	return rgb, nil
}

// cmykToRGB appends what Pillow makes of inverted CMYK.
func cmykToRGB(rgb, cmyk []byte) []byte {
	for ; len(cmyk) > 0; cmyk = cmyk[4:] {
		k := int(cmyk[3])
		for _, v := range cmyk[:3] {
			t := (255-int(v))*k + 128
			rgb = append(rgb, byte(max(0, k-(t>>8+t)>>8)))
		}
	}
	return rgb
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
	case *image.Gray:
		return func(x, y int) (byte, byte, byte) {
			v := img.Pix[img.PixOffset(x, y)]
			return v, v, v
		}
	case *image.Gray16: // Pillow makes 32 bits of it first, and cuts those off
		return func(x, y int) (byte, byte, byte) {
			v := byte(min(255, img.Gray16At(x, y).Y))
			return v, v, v
		}
	case *image.RGBA: // without transparency
		return func(x, y int) (byte, byte, byte) {
			p := img.Pix[img.PixOffset(x, y):]
			return p[0], p[1], p[2]
		}
	case *image.NRGBA:
		return func(x, y int) (byte, byte, byte) {
			p := img.Pix[img.PixOffset(x, y):]
			return p[0], p[1], p[2]
		}
	case *image.Paletted:
		return func(x, y int) (byte, byte, byte) {
			c := color.NRGBAModel.Convert(img.Palette[img.Pix[img.PixOffset(x, y)]]).(color.NRGBA)
			return c.R, c.G, c.B
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
