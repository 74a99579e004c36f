package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"
)

func pngSize(content []byte) (width, height int, err error) {
	config, err := png.DecodeConfig(bytes.NewReader(content))
	return config.Width, config.Height, cutOff(err)
}

// decodePNG reads what Go's decoder reads, and images with more data in them than pixels, which it refuses.
func decodePNG(content []byte) (r raster, err error) {
	im, err := png.Decode(bytes.NewReader(content))
	if err != nil && strings.Contains(err.Error(), "too much pixel data") {
		im, err = decodeSurplus(content)
	}
	if err != nil {
		return r, cutOff(err)
	}
	if deep, ok := im.(*image.NRGBA64); ok && pngHeader(content).grey() { // grey with a transparent level
		im = &image.Gray16{Pix: everyFourth(deep.Pix), Stride: deep.Stride / 4, Rect: deep.Rect}
	}
	return toRGB(im), nil
}

// cutOff recognises the end of a file, which image/png hides in a text.
func cutOff(err error) error {
	if err != nil && (errors.Is(err, io.EOF) || strings.HasSuffix(err.Error(), io.ErrUnexpectedEOF.Error())) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// everyFourth returns the first of each four numbers of two bytes.
func everyFourth(pixels []byte) []byte {
	out := make([]byte, 0, len(pixels)/4)
	for ; len(pixels) > 0; pixels = pixels[8:] {
		out = append(out, pixels[0], pixels[1])
	}
	return out
}

// pngHeader is the beginning of a PNG: its name, and the chunk IHDR.
type pngHeader []byte

func (h pngHeader) grey() bool       { return h[25] == 0 }
func (h pngHeader) interlaced() bool { return h[28] == 1 }

// pixelBytes is how many bytes the pixels take before compression, with the kind of filter before each row.
func (h pngHeader) pixelBytes() (n int64) {
	channels := map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[h[25]]
	width, height := int64(binary.BigEndian.Uint32(h[16:])), int64(binary.BigEndian.Uint32(h[20:]))
	pass := func(x, y, dx, dy int64) {
		w, h1 := (width-x+dx-1)/dx, (height-y+dy-1)/dy
		if w > 0 && h1 > 0 {
			n += h1 * (1 + (w*channels*int64(h[24])+7)/8)
		}
	}
	if !h.interlaced() {
		pass(0, 0, 1, 1)
		return n
	}
	for _, p := range [][4]int64{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		pass(p[0], p[1], p[2], p[3])
	}
	return n
}

// mostSurplus is how far data beyond the pixels are looked at, for their checksum.
const mostSurplus = 16 << 20

// decodeSurplus decodes a PNG after what is beyond its pixels was left out, with its checksums checked.
func decodeSurplus(content []byte) (image.Image, error) {
	head, packed, err := pngChunks(content)
	if err != nil {
		return nil, err
	}
	pixels, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(repack(w, pixels, pngHeader(content).pixelBytes())) }()
	return png.Decode(io.MultiReader(bytes.NewReader(head), r))
}

// repack writes n bytes of the pixels as chunks IDAT, and the chunk IEND.
func repack(w io.Writer, pixels io.Reader, n int64) error {
	z, err := zlib.NewWriterLevel(chunkWriter{w}, zlib.NoCompression)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(z, pixels, n); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, pixels, mostSurplus); err != nil && err != io.EOF {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	_, err = w.Write(appendChunk(nil, "IEND", nil))
	return err
}

// pngChunks returns a PNG up to its pixels, and these as they are packed. Chunks that the decoder does not need are left out.
func pngChunks(content []byte) (head, packed []byte, err error) {
	const signature = 8
	head = append(head, content[:signature]...)
	for rest := content[signature:]; ; {
		if len(rest) < 12 {
			return nil, nil, io.ErrUnexpectedEOF
		}
		size, name := int(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if size > len(rest)-12 {
			return nil, nil, io.ErrUnexpectedEOF
		}
		body := rest[8 : 8+size]
		if binary.BigEndian.Uint32(rest[8+size:]) != crc32.ChecksumIEEE(rest[4:8+size]) {
			return nil, nil, errors.New("png: invalid format: invalid checksum")
		}
		switch name {
		case "IHDR", "PLTE", "tRNS":
			head = append(head, rest[:12+size]...)
		case "IDAT":
			packed = append(packed, body...)
		case "IEND":
			return head, packed, nil
		}
		rest = rest[12+size:]
	}
}

// chunkWriter makes each piece that is written a chunk IDAT.
type chunkWriter struct{ w io.Writer }

func (c chunkWriter) Write(p []byte) (int, error) {
	if _, err := c.w.Write(appendChunk(nil, "IDAT", p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func appendChunk(to []byte, name string, body []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(len(body)))
	begin := len(to)
	to = append(append(to, name...), body...)
	return binary.BigEndian.AppendUint32(to, crc32.ChecksumIEEE(to[begin:]))
}
