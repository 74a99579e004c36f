package data

import (
	"bytes"
	"strings"
)

// magics are the first bytes of files, and what these are. Names of files are not believed: servers answer with a page
// in place of the file, and archives and images are renamed.
var magics = []struct{ magic, kind string }{
	{"\x89PNG\r\n\x1a\n", pngImage}, {"\xff\xd8\xff", jpegImage},
	{"GIF8", gifImage}, {"BM", bmpImage}, {"II*\x00", tiffImage}, {"MM\x00*", tiffImage}, {"RIFF....WEBP", webpImage},
	{"....ftypavif", "an AVIF image"}, {"....ftypheic", "a HEIC image"},
	{"....ftypmif1", "a HEIC image"}, {"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"}, {"\xff\x0a", "a JPEG XL image"},
	{"\x00\x00\x00\x0cJXL ", "a JPEG XL image"}, {"8BPS", "a Photoshop image"},
	{"\x1f\x8b", gzipFile}, {"BZh", bzip2File}, {"\xfd7zXZ\x00", xzFile}, {"\x28\xb5\x2f\xfd", zstdFile},
	{"PK\x03\x04", zipFile}, {"PK\x05\x06", zipFile}, {"7z\xbc\xaf\x27\x1c", "a 7z archive"}, {"Rar!", "a RAR archive"},
	{"PAR1", "a parquet file"}, {"%PDF-", "a PDF file"}, {"\x89HDF", "an HDF5 file"}, {"\x93NUMPY", "a NumPy array"},
	{"version https://git-lfs", "a pointer of Git LFS, not the file itself"},
	{"<!doctype html", htmlPage}, {"<html", htmlPage}, {"<head", htmlPage}, {"<?xml", "an XML file, maybe an error message"},
}

const (
	pngImage  = "a PNG image"
	jpegImage = "a JPEG image"
	webpImage = "a WebP image"
	bmpImage  = "a BMP image"
	tiffImage = "a TIFF image"
	gifImage  = "a GIF image"
	netpbm    = "a Netpbm image"
	gzipFile  = "a gzip file"
	bzip2File = "a bzip2 file"
	xzFile    = "an xz file"
	zstdFile  = "a zstd file"
	zipFile   = "a zip archive"
	tarFile   = "a tar archive"
	htmlPage  = "an HTML page"
	// kindBytes is how many bytes of a file kindOf needs.
	kindBytes = 512
)

// kindOf tells from its first bytes what a file is; "" if it is nothing known.
func kindOf(head []byte) string {
	if len(head) >= 262 && string(head[257:262]) == "ustar" {
		return tarFile
	}
	if isNetpbm(head) {
		return netpbm
	}
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n"))
	for _, m := range magics {
		if m.magic[0] == '<' && bytes.HasPrefix(text, []byte(m.magic)) || matches(head, m.magic) {
			return m.kind
		}
	}
	return ""
}

// matches compares the first bytes; a dot stands for any.
func matches(head []byte, magic string) bool {
	if len(head) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '.' && head[i] != magic[i] {
			return false
		}
	}
	return true
}

// describe says what a file is, for an error.
func describe(head []byte) string {
	kind := kindOf(head)
	switch {
	case len(head) == 0:
		return "it is empty"
	case kind == "":
		return "it is of no kind that is known here"
	case strings.HasPrefix(kind, "an HTML"), strings.HasPrefix(kind, "an XML"):
		return "it is " + kind + ": the address is not that of the file itself"
	}
	return "it is " + kind
}
