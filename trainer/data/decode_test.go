package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"testing"
)

type options = map[string]any

// pillowEncodings are the files that Pillow makes for us.
var pillowEncodings = map[string]struct {
	format, mode string
	options      options
}{
	"JPEG, quality 30":        {"JPEG", "RGB", options{"quality": 30}},
	"JPEG, quality 100":       {"JPEG", "RGB", options{"quality": 100}},
	"JPEG, progressive":       {"JPEG", "RGB", options{"progressive": true}},
	"JPEG, CMYK":              {"JPEG", "CMYK", nil},
	"JPEG, grey":              {"JPEG", "L", nil},
	"JPEG, 4:4:4":             {"JPEG", "RGB", options{"subsampling": 0}},
	"JPEG, 4:2:2":             {"JPEG", "RGB", options{"subsampling": 1}},
	"WebP":                    {"WEBP", "RGB", nil},
	"WebP, quality 5":         {"WEBP", "RGB", options{"quality": 5}},
	"WebP, quality 100":       {"WEBP", "RGB", options{"quality": 100}},
	"WebP, lossless":          {"WEBP", "RGB", options{"lossless": true}},
	"WebP, transparent":       {"WEBP", "RGBA", options{"exact": true}},
	"WebP, transparent, 5":    {"WEBP", "RGBA", options{"quality": 5, "alpha_quality": 20}},
	"WebP, both":              {"WEBP", "RGBA", options{"lossless": true, "exact": true}},
	"WebP, animated":          {"WEBP", "RGB", options{"save_all": true}},
	"WebP, animated lossless": {"WEBP", "RGBA", options{"save_all": true, "lossless": true}},
	"GIF":                     {"GIF", "RGB", nil},
	"GIF, grey":               {"GIF", "L", nil},
	"GIF, transparent":        {"GIF", "RGBA", nil},
	"GIF, animated":           {"GIF", "RGB", options{"save_all": true}},
	"GIF, interlaced":         {"GIF", "RGB", options{"interlace": 1}},
	"BMP":                     {"BMP", "RGB", nil},
	"BMP, bits":               {"BMP", "1", nil},
	"BMP, grey":               {"BMP", "L", nil},
	"BMP, palette":            {"BMP", "P", nil},
	"BMP, transparent":        {"BMP", "RGBA", nil},
	"PPM":                     {"PPM", "RGB", nil},
	"PGM":                     {"PPM", "L", nil},
	"PGM, 16 bits":            {"PPM", "I", nil},
	"PBM":                     {"PPM", "1", nil},
	"TIFF":                    {"TIFF", "RGB", nil},
	"TIFF, bits":              {"TIFF", "1", nil},
	"TIFF, grey":              {"TIFF", "L", nil},
	"TIFF, 16 bits":           {"TIFF", "I;16", nil},
	"TIFF, palette":           {"TIFF", "P", nil},
	"TIFF, transparent":       {"TIFF", "RGBA", nil},
	"TIFF, LZW":               {"TIFF", "RGB", options{"compression": "tiff_lzw"}},
	"TIFF, Deflate":           {"TIFF", "RGB", options{"compression": "tiff_adobe_deflate"}},
	"TIFF, PackBits":          {"TIFF", "RGB", options{"compression": "packbits"}},
	"TIFF, fax":               {"TIFF", "1", options{"compression": "group4"}},
	"TIFF, fax, white is 0":   {"TIFF", "1", options{"compression": "group4", "tiffinfo": map[int]int{tiffPhotometric: 0}}},
	"TIFF, fax 3":             {"TIFF", "1", options{"compression": "group3"}},
}

// What Pillow reads, we read, to the same bytes.
func TestDecodeAgainstPillow(t *testing.T) {
	files := encoded(t)
	for _, sampling := range []string{"11", "11 11 11", "22 11 11", "21 11 11", "12 11 11", "22 11 12",
		"22 21 12", "41 11 11", "14 11 11", "11 12 21", "22", "11 11 11 11", "22 11 11 22"} {
		var factors [][2]int
		for _, f := range strings.Fields(sampling) {
			factors = append(factors, [2]int{int(f[0] - '0'), int(f[1] - '0')})
		}
		for _, size := range [][2]int{{45, 37}, {8, 16}, {1, 1}, {64, 3}} {
			files[fmt.Sprintf("sampling %s of %d.jpg", sampling, size)] = jpegOf(size[0], size[1], factors...)
		}
	}
	for _, text := range []string{"P1 3 2 1 0 1 011", "P1 3 2 101\n0 1 1", "P2 3 1 9 0 5 9", "P2\n# a comment\n2 1\n1000 400 1000",
		"P3 1 2 100 1 50 99 100 0 7",
		"P4 9 2\n\x80\xff\x01\x00", "P5 3 1 9\n\x00\x05\x09", "P5 3 1 9\n\x00\x05\xff", "P5 2 1 300\n\x00\x05\x01\x02",
		"P6 2 1 77\n\x00\x05\x4d\x10\x20\x30",
		"P6 1 1 1000\n\x00\x05\x01\xff\x03\xe8", "P5 2 1 65535\n\x00\x05\x01\x02", "P6\t1\r1 255 abc"} {
		files[fmt.Sprintf("%q", text)] = []byte(text)
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
	for name, e := range pillowEncodings {
		for _, size := range [][2]int{{61, 83}, {62, 84}, {1, 1}, {2, 3}, {17, 16}} {
			c := peerCase{"format": e.format, "mode": e.mode, "options": e.options}
			cases = append(cases, picture(size[0], size[1], 3).peer("encode", fmt.Sprintf("%s of %d", name, size), c))
		}
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
		im, err := Decode(content, false)
		want, _ := decodeImage(content)
		if err != nil || !bytes.Equal(toRGB(im).rgb, want.rgb) {
			t.Errorf("%s: %v", name, err)
		}
	}
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
		"tiff":         {tiffBomb(65535, 65535), "65535×65535 pixels"},
		"tiff's tile":  {tiffBomb(80_000_000, 1), "says that its tiles have 80000000×16 pixels"},
		"no tiff":      {[]byte("II*\x00\xff\xff\xff\xff"), "EOF"},
		"tiff of jpeg": {tiffPacked(7), "tiff: unsupported feature: compression value 7: convert it to PNG"},
		"gif":          {[]byte("GIF89a\xff\xff\xff\xff"), "EOF"},
		"large gif":    {[]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), "says that it has 65535×65535 pixels"},
		"webp":         {[]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "riff: short chunk data"},
		"large webp":   {webpOf("VP8X", "\x00\x00\x00\x00\x3f\x9c\x00\x3f\x9c\x00"), "says that it has 40000×40000 pixels"},
		"no frame":     {webpOf("VP8X", "\x02\x00\x00\x00\x07\x00\x00\x07\x00\x00"), "EOF"},
		"large frame": {webpOf("VP8X", "\x02\x00\x00\x00\x07\x00\x00\x07\x00\x00", "ANMF",
			"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), "the first frame is too large"},
		"bmp":            {[]byte("BM\x00\x00"), "EOF"},
		"packed bmp":     {bmpOf(9, 9, 1), "bmp: unsupported BMP image: convert it to PNG"},
		"large bmp":      {bmpOf(65536, 65536, 0), "says that it has 65536×65536 pixels"},
		"large ppm":      {[]byte("P6 65536 65536 255\n"), "says that it has 65536×65536 pixels"},
		"ppm cut off":    {[]byte("P6 2 2 255\n12345678901"), "EOF"},
		"ppm header":     {[]byte("P6 2 2"), "EOF"},
		"ppm of letters": {[]byte("P6 two 2 255\n"), "netpbm: 't' is no digit"},
		"ppm of nothing": {[]byte("P6 2 2 0\n1234567890ab"), "the most that a value may be is 0, but must be from 1 to 65535"},
		"plain ppm":      {[]byte("P3 1 1 9\n1 2 10 "), "netpbm: a value is 10, but the header says that the most is 9"},
		"plain pbm":      {[]byte("P1 2 1\n12"), "netpbm: '2' is neither 0 nor 1"},
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
	f.Add(tiffBomb(65535, 65535))
	f.Add(tiffPacked(1))
	f.Add([]byte("P5 2 1 9\n12"))
	f.Add([]byte("P1 2 1\n10"))
	f.Add(bmpOf(2, 2, 0))
	f.Add(rawPNG(5, 5, 16, 0, 1, 3))
	f.Add(jpegOf(20, 20, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 2}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if img, err := decodeImage(data); err == nil && len(img.rgb) != 3*img.h*img.w {
			t.Errorf("%d×%d in %d bytes", img.h, img.w, len(img.rgb))
		}
	})
}
