package data

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zlib"
)

// jpegOf returns a JPEG of random colours, one for each block, whose planes have the given sampling factors.
func jpegOf(h, w int, sampling ...[2]int) []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xdb, 0, 67, 0}
	b = append(b, bytes.Repeat([]byte{8}, 64)...) // quantisation
	b = append(b, 0xff, 0xc0, 0, byte(8+3*len(sampling)), 8, byte(h>>8), byte(h), byte(w>>8), byte(w), byte(len(sampling)))
	most := [2]int{1, 1}
	for i, s := range sampling {
		b = append(b, byte(i+1), byte(s[0]<<4|s[1]), 0)
		most = [2]int{max(most[0], s[0]), max(most[1], s[1])}
	}
	// Huffman tables: differences of 0 to 15 bits by codes of 4 bits, but the last; and one code: the end of the block.
	b = append(b, 0xff, 0xc4, 0, 19+11, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	b = append(b, 0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, 0xff, 0xda, 0, byte(6+2*len(sampling)), byte(len(sampling)))
	for i := range sampling {
		b = append(b, byte(i+1), 0)
	}
	b = append(b, 0, 63, 0)

	r := rand.New(rand.NewPCG(1, uint64(len(sampling))))
	var acc uint64
	n := 0
	put := func(value, size int) {
		acc, n = acc<<size|uint64(value), n+size
		for n >= 8 {
			n -= 8
			v := byte(acc >> n)
			if b = append(b, v); v == 0xff {
				b = append(b, 0)
			}
		}
	}
	last := make([]int, len(sampling))
	mcus := ((h + 8*most[1] - 1) / (8 * most[1])) * ((w + 8*most[0] - 1) / (8 * most[0]))
	if len(sampling) == 1 { // then a unit is one block
		mcus = ((h + 7) / 8) * ((w + 7) / 8)
	}
	for range mcus {
		for c, s := range sampling {
			blocks := s[0] * s[1]
			if len(sampling) == 1 {
				blocks = 1
			}
			for range blocks {
				level := r.IntN(240) - 120
				diff := level - last[c]
				last[c] = level
				size := bits.Len(uint(max(diff, -diff)))
				put(size, 4)
				if diff < 0 {
					diff += 1<<size - 1
				}
				put(diff, size)
				put(0, 1) // end of block
			}
		}
	}
	put(127, 7)
	return append(b, 0xff, 0xd9)
}

// rawPNG returns a PNG of random data; surplus bytes follow them.
func rawPNG(h, w int, depth, kind, interlace byte, surplus int, more ...[]byte) []byte {
	head := []byte("\x89PNG\r\n\x1a\n")
	ihdr := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h))
	head = appendChunk(head, "IHDR", append(ihdr, depth, kind, 0, 0, interlace))
	for i := 0; i < len(more); i += 2 {
		head = appendChunk(head, string(more[i]), more[i+1])
	}
	r := rand.New(rand.NewPCG(uint64(depth), uint64(kind)))
	data := make([]byte, int(pngHeader(head).pixelBytes()))
	for i := range data {
		data[i] = byte(r.Uint32() & 1) // also a valid filter at the start of a row
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(append(data, make([]byte, surplus)...))
	z.Close()
	return appendChunk(appendChunk(head, "IDAT", packed.Bytes()), "IEND", nil)
}

// tiffOf is a grey TIFF with these tags more, each a number.
func tiffOf(height, width uint32, more ...[2]uint32) []byte {
	tags := append([][2]uint32{{256, width}, {257, height}, {258, 8}}, more...)
	b := append([]byte{'I', 'I', 42, 0, 8, 0, 0, 0}, byte(len(tags)), 0)
	for _, tag := range tags {
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(tag[0])), 4)
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, 1), tag[1])
	}
	return append(b, make([]byte, 20)...)
}

// tiffBomb has one tile, as wide as the image.
func tiffBomb(width, height uint32) []byte {
	return tiffOf(height, width, [2]uint32{259, 1}, [2]uint32{262, 1}, [2]uint32{322, width}, [2]uint32{323, max(height, 16)},
		[2]uint32{324, 122}, [2]uint32{325, 1})
}

func tiffPacked(compression uint32) []byte {
	return tiffOf(1, 1, [2]uint32{259, compression}, [2]uint32{262, 1}, [2]uint32{273, 100}, [2]uint32{279, 1})
}

// webpOf is a WebP file of chunks, each a name and a content of an even length.
func webpOf(chunks ...string) []byte {
	body := []byte("WEBP")
	for i := 0; i < len(chunks); i += 2 {
		body = binary.LittleEndian.AppendUint32(append(body, chunks[i]...), uint32(len(chunks[i+1])))
		body = append(body, chunks[i+1]...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func bmpOf(height, width uint32, compression byte) []byte {
	b := append([]byte("BM"), make([]byte, 52)...)
	b[10], b[14], b[26], b[28], b[30] = 54, 40, 1, 24, compression
	binary.LittleEndian.PutUint32(b[18:], width)
	binary.LittleEndian.PutUint32(b[22:], height)
	return b
}

// encoded returns pictures in the modes that files come in.
func encoded(t testing.TB) map[string][]byte {
	src := picture(21, 30, 3)
	rect := image.Rect(0, 0, 30, 21)
	rgb, grey, alpha, palette := image.NewRGBA(rect), image.NewGray(rect), image.NewNRGBA(rect), image.NewPaletted(rect, nil)
	deep, smooth := image.NewNRGBA64(rect), image.NewRGBA(rect)
	for i := range 216 {
		palette.Palette = append(palette.Palette, color.RGBA{byte(i / 36 * 51), byte(i / 6 % 6 * 51), byte(i % 6 * 51), 255})
	}
	for y := range 21 {
		for x := range 30 {
			p := src.Pixels[(y*30+x)*3:]
			rgb.SetRGBA(x, y, color.RGBA{p[0], p[1], p[2], 255})
			smooth.SetRGBA(x, y, color.RGBA{byte(8 * x), byte(10 * y), byte(255 - 8*x), 255})
			grey.SetGray(x, y, color.Gray{p[0]})
			alpha.SetNRGBA(x, y, color.NRGBA{p[0], p[1], p[2], byte(x * 8)})
			palette.Set(x, y, rgb.At(x, y))
			deep.SetNRGBA64(x, y, color.NRGBA64{uint16(p[0])<<8 | 77, uint16(p[1])<<8 | 200, uint16(p[2]) << 8, 0xffff})
		}
	}
	files := map[string][]byte{}
	for name, img := range map[string]image.Image{"rgb": rgb, "grey": grey, "alpha": alpha, "palette": palette, "deep": deep} {
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		files[name+".png"] = b.Bytes()
	}
	for name, img := range map[string]image.Image{"smooth": smooth, "grey": grey} {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
			t.Fatal(err)
		}
		files[name+".jpg"] = b.Bytes()
	}
	return files
}
