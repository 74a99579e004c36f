package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"
	_ "golang.org/x/image/tiff" // as gonum's plot, so that image.Decode would read it
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

// What Pillow reads, we read, to the same bytes.
func TestDecodeAgainstPillow(t *testing.T) {
	files := encoded(t)
	for _, sampling := range []string{"11", "11 11 11", "22 11 11", "21 11 11", "12 11 11", "22 11 12", "22 21 12", "41 11 11", "14 11 11", "11 12 21", "22", "11 11 11 11", "22 11 11 22"} {
		var factors [][2]int
		for _, f := range strings.Fields(sampling) {
			factors = append(factors, [2]int{int(f[0] - '0'), int(f[1] - '0')})
		}
		for _, size := range [][2]int{{45, 37}, {8, 16}, {1, 1}, {64, 3}} {
			files[fmt.Sprintf("sampling %s of %d.jpg", sampling, size)] = jpegOf(size[0], size[1], factors...)
		}
	}
	palette, levels := bytes.Repeat([]byte{9, 80, 200, 255, 3, 0}, 128), bytes.Repeat([]byte{0, 7, 255}, 80)
	for kind, depths := range map[byte][]byte{0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}} {
		for _, depth := range depths {
			for interlace := range byte(2) {
				for _, surplus := range []int{0, 1, 100_000} {
					id := fmt.Sprintf("kind %d, %d bits, interlace %d, surplus %d.png", kind, depth, interlace, surplus)
					var more [][]byte
					if kind == 3 {
						more = [][]byte{[]byte("PLTE"), palette[:3<<depth]}
					}
					files[id] = rawPNG(13, 11, depth, kind, interlace, surplus, more...)
					switch kind {
					case 0:
						more = [][]byte{[]byte("tRNS"), {0, 1}}
					case 2:
						more = [][]byte{[]byte("tRNS"), {0, 1, 0, 1, 0, 1}}
					case 3:
						more = append(more, []byte("tRNS"), levels[:1<<depth/2])
					}
					files["transparent, "+id] = rawPNG(13, 11, depth, kind, interlace, surplus, more...)
				}
			}
		}
	}
	var cases []peerCase
	for name, content := range files {
		cases = append(cases, peerCase{"function": "decode", "name": name, "file": fmt.Sprintf("%x", content)})
	}
	for _, name := range []string{"quality 30.jpg", "quality 100.jpg", "progressive.jpg", "CMYK.jpg", "L.jpg", "4:4:4.jpg", "4:2:2.jpg"} {
		im := picture(61, 83, 3)
		cases = append(cases, im.peer("encode", name, peerCase{"size": 0}))
	}
	for name, want := range torchvision(t, cases) {
		content, ok := files[name]
		if !ok { // Pillow made it
			size := binary.BigEndian.Uint32(want)
			content, want = want[4:4+size], want[4+size:]
		}
		got, err := decodeImage(content)
		if len(want) == 0 {
			t.Errorf("%s: Pillow does not read it, and we: %v", name, err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if count, most := differences(got.rgb, want); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", name, count, len(want), most)
		}
	}
}

// Decode gives the same pixels as an image.
func TestDecode(t *testing.T) {
	for name, content := range encoded(t) {
		im, err := Decode(content)
		want, _ := decodeImage(content)
		if err != nil || !bytes.Equal(toRGB(im).rgb, want.rgb) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tiffBomb has one tile of 65535×65535 pixels.
func tiffBomb() []byte {
	b := []byte{'I', 'I', 42, 0, 8, 0, 0, 0, 9, 0}
	for _, tag := range [][3]uint32{{256, 4, 65535}, {257, 4, 65535}, {258, 3, 8}, {259, 3, 1}, {262, 3, 1}, {322, 4, 65535}, {323, 4, 65535}, {324, 4, 122}, {325, 4, 1}} {
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(tag[0])), uint16(tag[1]))
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, 1), tag[2])
	}
	return append(b, make([]byte, 20)...)
}

// Hostile and foreign images end with an error that says what they are, and take no memory worth speaking of.
func TestHostileImages(t *testing.T) {
	good := jpegOf(16, 16, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1})
	sized := func(h, w uint16, marker byte) []byte {
		b := bytes.Clone(good)
		i := bytes.Index(b, []byte{0xff, 0xc0})
		binary.BigEndian.PutUint16(b[i+5:], h)
		binary.BigEndian.PutUint16(b[i+7:], w)
		b[i+1] = marker
		return b
	}
	// A progressive image whose empty scans are repeated.
	scans := sized(1000, 1000, 0xc2)
	at := bytes.Index(scans, []byte{0xff, 0xda})
	scan := append(bytes.Clone(scans[at:at+10]), 1, 0, 0, 0, 0, 0)
	scan[3], scan[4] = 8, 1
	scan = append(bytes.Clone(scan[:7]), 0, 0, 0, 0x55, 0x55)
	scans = append(scans[:at], bytes.Repeat(scan, 600)...)
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"tiff":           {tiffBomb(), "is neither PNG nor JPEG: it is a TIFF image"},
		"gif":            {[]byte("GIF89a\xff\xff\xff\xff"), "it is a GIF image"},
		"webp":           {[]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "it is a WebP image"},
		"bmp":            {[]byte("BM\x00\x00"), "it is a BMP image"},
		"avif":           {[]byte("\x00\x00\x00\x1cftypavif"), "it is an AVIF image"},
		"large jpeg":     {sized(65500, 65500, 0xc0), "says that it has 65500×65500 pixels"},
		"jpeg, no size":  {sized(0, 16, 0xc0), "JPEG"},
		"jpeg cut off":   {good[:len(good)-20], "EOF"},
		"no end of jpeg": {good[:len(good)-2], "EOF"},
		"jpeg header":    {good[:30], "EOF"},
		"two planes":     {jpegOf(8, 8, [2]int{1, 1}, [2]int{1, 1}), "neither one, three nor four components"},
		"scans":          {scans, "more than 500 scans"},
		"png damaged":    {garbled(rawPNG(9, 9, 8, 2, 0, 5)), ""},
		"png surplus sum": {func() []byte {
			b := rawPNG(9, 9, 8, 2, 0, 5)
			end := len(b) - 12 - 4 // before IEND and the sum of IDAT
			b[end-1]++             // of Adler's sum
			begin := bytes.Index(b, []byte("IDAT"))
			binary.BigEndian.PutUint32(b[end:], crc32.ChecksumIEEE(b[begin:end]))
			return b
		}(), "invalid checksum"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decodeImage(test.content)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if name != "scans" && after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%s took %d KiB", name, (after.TotalAlloc-before.TotalAlloc)>>10)
		}
	}
}

func FuzzDecodeImage(f *testing.F) {
	for _, content := range encoded(f) {
		f.Add(content)
	}
	f.Add(hugePNG(50_000, 50_000))
	f.Add(tiffBomb())
	f.Add(rawPNG(5, 5, 16, 0, 1, 3))
	f.Add(jpegOf(20, 20, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 2}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if img, err := decodeImage(data); err == nil && len(img.rgb) != 3*img.h*img.w {
			t.Errorf("%d×%d in %d bytes", img.h, img.w, len(img.rgb))
		}
	})
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
