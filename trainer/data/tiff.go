package data

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/image/tiff"
)

const (
	tiffCompression    = 259
	tiffPhotometric    = 262
	tiffOrientationTag = 274
	tiffTileWidth      = 322
	tiffTileHeight     = 323
)

// tiffSize also refuses tiles that are larger than any image may be: the decoder takes memory for one.
func tiffSize(content []byte) (width, height int, err error) {
	config, err := tiff.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		return 0, 0, cutOff(err)
	}
	tileWidth, tileHeight := tiffTag(content, tiffTileWidth), tiffTag(content, tiffTileHeight)
	if tileHeight > 0 && tileWidth > mostPixels/tileHeight {
		err = fmt.Errorf("says that its tiles have %d×%d pixels: at most %d in all are read",
			tileWidth, tileHeight, mostPixels)
	}
	if tiffOrientation(content) >= 5 {
		return config.Height, config.Width, err
	}
	return config.Width, config.Height, err
}

// tiffTag returns a number of the first image of a file; 0 if it is missing.
func tiffTag(content []byte, tag uint16) uint64 {
	var order binary.ByteOrder = binary.LittleEndian
	if content[0] == 'M' {
		order = binary.BigEndian
	}
	const entry = 12
	at := int64(order.Uint32(content[4:]))
	if at+2 > int64(len(content)) {
		return 0
	}
	entries := content[at+2:]
	for range order.Uint16(content[at:]) {
		if len(entries) < entry {
			return 0
		}
		if order.Uint16(entries) == tag {
			switch order.Uint16(entries[2:]) { // its type
			case 1:
				return uint64(entries[8])
			case 3:
				return uint64(order.Uint16(entries[8:]))
			}
			return uint64(order.Uint32(entries[8:]))
		}
		entries = entries[entry:]
	}
	return 0
}

// decodeTIFF reads the first image of a file, turned as it is to be shown: as Pillow does, without being asked.
func decodeTIFF(content []byte) (raster, error) {
	im, err := tiff.Decode(bytes.NewReader(content))
	if err != nil {
		return raster{}, cutOff(err)
	}
	r := toRGB(im)
	// Runs of a fax are white and black as 0 and 1 bits; x/image does not look whether 0 means black, as in Pillow's.
	const fax3, fax4, blackIsZero = 3, 4, 1
	compression := tiffTag(content, tiffCompression)
	if (compression == fax3 || compression == fax4) && tiffTag(content, tiffPhotometric) == blackIsZero {
		for i := range r.rgb {
			r.rgb[i] = ^r.rgb[i]
		}
	}
	return r.oriented(tiffOrientation(content)), nil
}
