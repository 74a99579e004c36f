package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"golang.org/x/image/webp"
)

func webpSize(content []byte) (width, height int, err error) {
	config, err := webp.DecodeConfig(bytes.NewReader(content))
	return config.Width, config.Height, cutOff(err)
}

// decodeWebP reads images that are packed with or without loss, and the first frame of an animation.
func decodeWebP(content []byte) (raster, error) {
	frame, at, err := firstFrame(content)
	if err != nil {
		return raster{}, err
	}
	if frame == nil {
		return decodeStill(content)
	}
	r, err := decodeStill(frame)
	if err != nil {
		return raster{}, err
	}
	width, height, err := webpSize(content)
	if err != nil || at.X+r.w > width || at.Y+r.h > height {
		return raster{}, errors.Join(errors.New("webp: the first frame leads out of the image"), err)
	}
	return r.onto(height, width, at), nil
}

func decodeStill(content []byte) (raster, error) {
	im, err := webp.Decode(bytes.NewReader(content))
	if err != nil {
		return raster{}, cutOff(err)
	}
	switch im := im.(type) {
	case *image.YCbCr:
		return upsample(im), nil
	case *image.NYCbCrA:
		return upsample(&im.YCbCr), nil
	}
	return toRGB(im), nil
}

// firstFrame returns the first frame of an animation as an image of its own, and where it lies; nil if content is none.
// Source: the WebP container specification, "Animation".
func firstFrame(content []byte) (still []byte, at image.Point, err error) {
	const head, animated = 12, 1 << 1
	chunks := content[min(head, len(content)):]
	name, body, chunks := nextChunk(chunks)
	if name != "VP8X" || len(body) < 10 || body[0]&animated == 0 {
		return nil, at, nil
	}
	for name != "ANMF" {
		if name, body, chunks = nextChunk(chunks); name == "" {
			return nil, at, io.ErrUnexpectedEOF
		}
	}
	if len(body) < 16 {
		return nil, at, io.ErrUnexpectedEOF
	}
	at = image.Pt(2*int(uint24(body)), 2*int(uint24(body[3:])))
	width, height := uint24(body[6:]), uint24(body[9:]) // less one
	if int(width+1) > mostPixels/int(height+1) {
		return nil, at, errors.New("webp: the first frame is too large")
	}
	const alpha = 1 << 4
	extended := append(appendUint24(make([]byte, 4), width), appendUint24(nil, height)...)
	if name, _, _ := nextChunk(body[16:]); name == "ALPH" {
		extended[0] = alpha
	}
	still = append([]byte("WEBPVP8X\x0a\x00\x00\x00"), extended...)
	still = append(still, body[16:]...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(still))), still...), at, nil
}

// nextChunk splits the first chunk of a RIFF file off; its name is "" if there is none.
func nextChunk(chunks []byte) (name string, body, rest []byte) {
	if len(chunks) < 8 {
		return "", nil, nil
	}
	size := int64(binary.LittleEndian.Uint32(chunks[4:]))
	if size > int64(len(chunks)-8) {
		return "", nil, nil
	}
	return string(chunks[:4]), chunks[8 : 8+size], chunks[min(8+size+size&1, int64(len(chunks))):]
}

func appendUint24(b []byte, v uint32) []byte { return append(b, byte(v), byte(v>>8), byte(v>>16)) }

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

// upsample makes RGB of an image with half as many rows and columns of colour as of light, as libwebp does by default:
// each colour is the mean of its four neighbours, weighted 9:3:3:1, in libwebp's order of roundings
// (src/dsp/upsampling.c).
func upsample(im *image.YCbCr) raster {
	r := raster{im.Rect.Dy(), im.Rect.Dx(), make([]byte, 3*im.Rect.Dy()*im.Rect.Dx())}
	across := (r.w + 1) / 2
	row := func(planes []byte, y int) []byte {
		y = min(max(y, 0), (r.h+1)/2-1)
		return planes[y*im.CStride:][:across]
	}
	for y := range r.h {
		near, far := y/2, y/2-1+y%2*2 // the rows of colour beside this row
		cbNear, cbFar := row(im.Cb, near), row(im.Cb, far)
		crNear, crFar := row(im.Cr, near), row(im.Cr, far)
		light, out := im.Y[y*im.YStride:][:r.w], r.rgb[3*y*r.w:][:3*r.w]
		for x := range r.w {
			side := min(max(x/2-1+x%2*2, 0), across-1)
			toRGBOfVideo(out[3*x:], light[x], weighted(cbNear, cbFar, x/2, side), weighted(crNear, crFar, x/2, side))
		}
	}
	return r
}

// weighted is (9a + 3b + 3c + d + 8) / 16 for the near and far rows at the columns x and side. libwebp rounds half of it
// first.
func weighted(near, far []byte, x, side int) int32 {
	a, b, c, d := int32(near[x]), int32(near[side]), int32(far[x]), int32(far[side])
	if x == side {
		return (3*a + c + 2) >> 2
	}
	return ((a+b+c+d+8+2*(b+c))>>3 + a) >> 1
}

// toRGBOfVideo converts a pixel of ITU-R BT.601, whose light goes from 16 to 235, in libwebp's fixed point
// (src/dsp/yuv.h).
func toRGBOfVideo(out []byte, y byte, cb, cr int32) {
	light := int32(y) * 19077 >> 8
	clip := func(v int32) byte { return byte(min(max(v>>6, 0), 255)) }
	out[0] = clip(light + cr*26149>>8 - 14234)
	out[1] = clip(light - cb*6419>>8 - cr*13320>>8 + 8708)
	out[2] = clip(light + cb*33050>>8 - 17685)
}
