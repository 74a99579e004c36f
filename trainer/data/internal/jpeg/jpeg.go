// Package jpeg decodes JPEG images by libjpeg-turbo, with its defaults: to the same bytes as Pillow and torchvision, which
// use it too. Go's image/jpeg differs from them by up to ten levels, and refuses some images that they read.
package jpeg

/*
#cgo CFLAGS: -O2
#cgo LDFLAGS: -ljpeg
#include "decode.h"
*/
import "C"

import (
	"errors"
	"io"
	"unsafe"
)

// Size returns the size of an image, and how many bytes each of its pixels has: 1 if it is grey, 3 if it is RGB, 4 if it is
// CMYK.
func Size(content []byte) (width, height, channels int, err error) {
	var image C.jpeg_image
	if len(content) == 0 || C.jpeg_size((*C.uchar)(&content[0]), C.size_t(len(content)), &image) == 0 {
		return 0, 0, 0, message(&image)
	}
	return int(image.width), int(image.height), int(image.channels), nil
}

// Region is a part of an image.
type Region struct{ Left, Top, Width, Height int }

// Decode writes the pixels of a part of an image, which Size told to be there, row by row to out, with as many bytes each as
// Size says: the very bytes that they have in the whole image, though little more than this part is computed. CMYK comes
// inverted, as Adobe's programs write it. It takes at most about the given memory. Damaged images are decoded as well as
// they can be, as by Pillow; what is cut off, anywhere, is io.ErrUnexpectedEOF.
func Decode(content []byte, memory int, r Region, out []byte) error {
	region := C.jpeg_region{left: C.int(r.Left), top: C.int(r.Top), width: C.int(r.Width), height: C.int(r.Height)}
	var image C.jpeg_image
	if C.jpeg_decode((*C.uchar)(&content[0]), C.size_t(len(content)), &image, C.size_t(memory), region, (*C.uchar)(unsafe.SliceData(out))) == 0 {
		return message(&image)
	}
	return nil
}

func message(image *C.jpeg_image) error {
	text := C.GoString(&image.message[0])
	if text == "cut off" || text == "" {
		return io.ErrUnexpectedEOF
	}
	return errors.New(text)
}
