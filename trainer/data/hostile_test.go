package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// zipOf returns a zip with these members, changed before they are written.
func zipOf(t *testing.T, change func(h *zip.FileHeader), files map[string][]byte) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		r, err := w.CreateHeader(h)
		must(t, err)
		r.Write(content)
		if change != nil {
			change(h) // is written again into the directory at the end, which counts
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

// xzWithDictionary is the beginning of an xz file that wants 4 GiB of memory.
func xzWithDictionary() []byte {
	b := []byte("\xfd7zXZ\x00\x00\x01")
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[6:8]))
	block := []byte{2, 0, 0x21, 1, 40, 0, 0, 0}
	return append(append(b, binary.LittleEndian.AppendUint32(block, crc32.ChecksumIEEE(block))...), make([]byte, 100)...)
}

// zstdWithWindow is the beginning of a zstd file that wants 2 GiB of memory.
func zstdWithWindow() []byte {
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3}, make([]byte, 100)...)
}

// In place of an archive there may be anything; the error says what it is. Hostile archives end with an error, and take
// little memory.
func TestWhatIsNoArchive(t *testing.T) {
	quiet(t)
	good := zipOf(t, nil, imageFolderOf(t))
	var packedPage bytes.Buffer
	z, err := zstd.NewWriter(&packedPage)
	must(t, err)
	z.Write([]byte("<html>"))
	must(t, z.Close())
	var escaping bytes.Buffer
	w := tar.NewWriter(&escaping)
	must(t, w.WriteHeader(&tar.Header{Name: "train/cat/1.png", Linkname: "../../etc/passwd", Typeflag: tar.TypeLink}))
	must(t, w.Close())
	var long bytes.Buffer
	w = tar.NewWriter(&long)
	must(t, w.WriteHeader(&tar.Header{Name: strings.Repeat("x/", 3000) + "1.png", Typeflag: tar.TypeReg}))
	must(t, w.Close())
	damaged := bytes.Clone(good)
	for i := range damaged {
		if bytes.HasPrefix(damaged[i:], []byte("PK\x01\x02")) {
			damaged[i+16]++ // the sum in the directory
		}
	}
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"page":              {[]byte("\n<!DOCTYPE html>\n<html><body>Log in"), "x.tar.gz: is not an archive: .tar, .tar.gz, .tar.xz, .tar.zst, .tar.bz2 or .zip: it is an HTML page: the address is not that of the file itself"},
		"error message":     {[]byte("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"), "it is an XML file, maybe an error message"},
		"pointer":           {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a"), "it is a pointer of Git LFS, not the file itself"},
		"7z":                {[]byte("7z\xbc\xaf\x27\x1c and so on"), "it is a 7z archive"},
		"rar":               {[]byte("Rar!\x1a\x07 and so on"), "it is a RAR archive"},
		"parquet":           {append([]byte("PAR1"), make([]byte, 2000)...), "it is a parquet file"},
		"text":              {[]byte("hello"), "it is of no kind that is known here"},
		"nothing":           {nil, "it is empty"},
		"packed page":       {gzipped([]byte("<html>" + strings.Repeat("x", 1000))), "is a gzip file, but not of a tar archive: unpacked, it is an HTML page"},
		"zstd of a page":    {packedPage.Bytes(), "is a zstd file, but not of a tar archive: unpacked, it is an HTML page"},
		"packed nothing":    {gzipped(nil), "is a gzip file, but not of a tar archive: unpacked, it is empty"},
		"zip cut off":       {good[:len(good)-100], "the zip archive is cut off or damaged"},
		"zip of other name": {zipOf(t, nil, map[string][]byte{"train/../../x/1.png": nil}), `the name "train/../../x/1.png" leads out of the archive`},
		"zip for Windows":   {zipOf(t, nil, map[string][]byte{`..\..\x\1.png`: nil}), `the name "../../x/1.png" leads out of the archive`},
		"zip with password": {zipOf(t, func(h *zip.FileHeader) { h.Flags |= 1 }, imageFolderOf(t)), "is encrypted: pack it without a password"},
		"zip, unknown":      {zipOf(t, func(h *zip.FileHeader) { h.Method = 99 }, imageFolderOf(t)), "unsupported compression algorithm"},
		"zip damaged":       {damaged, "checksum error"},
		"hard link":         {escaping.Bytes(), `the name "../../etc/passwd" leads out of the archive`},
		"long name":         {long.Bytes(), "has 6005 bytes: at most 4096 are read"},
		"xz dictionary":     {xzWithDictionary(), "dictionary size exceeds max"},
		"zstd window":       {zstdWithWindow(), "window size exceeded"},
		"xz cut off":        {[]byte("\xfd7zXZ\x00\x00\x01"), "xz: data is truncated or corrupt"},
		"zstd cut off":      {packedPage.Bytes()[:8], "the file is cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, map[string][]byte{"x.tar.gz": test.content})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := fromWeb(t, v1.ImageFolder, server.URL+"/data/x.tar.gz", "")
			runtime.ReadMemStats(&after)
			if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) || !strings.Contains(err.Error(), "x.tar.gz") {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 200 {
				t.Errorf("took %d MiB", mib)
			}
		})
	}
}

// The members of a zip are counted together, since many may share the same bytes of the file.
func TestZipBombsEnd(t *testing.T) {
	all := bounded(nil, 0)
	all.left = 3 << 20
	pack := zipOf(t, nil, map[string][]byte{"a": make([]byte, 2<<20), "b": make([]byte, 2<<20)})
	r, err := zip.NewReader(bytes.NewReader(pack), int64(len(pack)))
	if err == nil {
		for _, f := range r.File {
			_, err = io.Copy(io.Discard, &zipReader{file: f, all: all})
		}
	}
	if err != errTooLarge {
		t.Errorf("got %v", err)
	}
}

// Links multiply: two in each of forty folders would make 2⁴⁰ names.
func TestLinkBombsEnd(t *testing.T) {
	files := tree{files: map[string][]byte{"f40/1.png": nil}, symbolic: map[string]string{}}
	for i := range 40 {
		for _, link := range []string{"a", "b"} {
			files.symbolic[fmt.Sprintf("f%d/%s", i, link)] = fmt.Sprintf("../f%d", i+1)
		}
		files.folders = append(files.folders, fmt.Sprintf("f%d", i))
	}
	old := mostNames
	mostNames = 1 << 20
	defer func() { mostNames = old }()
	for _, transport := range []string{"folder", "tar", "zip"} {
		uri, open := transports[transport](t, files)
		_, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, 0, open, "")
		if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), "holds more files than can be listed") {
			t.Errorf("%s: %v", transport, err)
		}
	}
}
