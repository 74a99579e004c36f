package data

import (
	"bytes"
	"encoding/binary"
)

// orientation of an encoded image, from 1 to 8: how it is to be turned and mirrored to be shown. 1, as it is, where the
// file does not say. TIFF images have been turned already, see decodeTIFF. Source: the Exif standard, 4.6.5; PNG, eXIf; the WebP container specification, EXIF.
func orientation(content []byte) int {
	switch kindOf(content[:min(kindBytes, len(content))]) {
	case jpegImage:
		return tiffOrientation(jpegExif(content))
	case pngImage:
		for chunks := content[8:]; len(chunks) >= 12; {
			n := int64(binary.BigEndian.Uint32(chunks))
			if n > int64(len(chunks)-12) {
				break
			}
			if string(chunks[4:8]) == "eXIf" {
				return tiffOrientation(chunks[8 : 8+n])
			}
			chunks = chunks[12+n:]
		}
	case webpImage:
		for name, body, chunks := nextChunk(content[12:]); name != ""; name, body, chunks = nextChunk(chunks) {
			if name == "EXIF" {
				return tiffOrientation(bytes.TrimPrefix(body, []byte("Exif\x00\x00")))
			}
		}
	}
	return 1
}

// jpegExif returns the segment APP1 of a JPEG that holds Exif, without its name.
func jpegExif(content []byte) []byte {
	const app1, startOfScan = 0xe1, 0xda
	for at := content[2:]; len(at) >= 4 && at[0] == 0xff && at[1] != startOfScan; {
		if at[1] == 0xff { // a marker may be filled up
			at = at[1:]
			continue
		}
		n := int(binary.BigEndian.Uint16(at[2:]))
		if n < 2 || 2+n > len(at) {
			break
		}
		if exif, ok := bytes.CutPrefix(at[4:2+n], []byte("Exif\x00\x00")); ok && at[1] == app1 {
			return exif
		}
		at = at[2+n:]
	}
	return nil
}

// tiffOrientation looks the tag up in the first folder of a TIFF.
func tiffOrientation(content []byte) int {
	if len(content) < 8 {
		return 1
	}
	if v := tiffTag(content, tiffOrientationTag); 1 <= v && v <= 8 {
		return int(v)
	}
	return 1
}

// oriented turns and mirrors an image as Pillow's ImageOps.exif_transpose does.
func (r raster) oriented(orientation int) raster {
	if orientation == 1 {
		return r
	}
	out := raster{r.h, r.w, make([]byte, len(r.rgb))}
	if orientation >= 5 {
		out.h, out.w = r.w, r.h
	}
	for y := range out.h {
		for x := range out.w {
			sy, sx := y, x
			if orientation >= 5 { // along the diagonal
				sy, sx = x, y
			}
			switch orientation {
			case 2, 8:
				sx = r.w - 1 - sx
			case 3, 7:
				sx, sy = r.w-1-sx, r.h-1-sy
			case 4, 6:
				sy = r.h - 1 - sy
			}
			copy(out.rgb[3*(y*out.w+x):][:3], r.rgb[3*(sy*r.w+sx):])
		}
	}
	return out
}
