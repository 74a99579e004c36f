package data

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip" // in two thirds of the standard library's time
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz" // takes a limit for its dictionary, unlike ulikunitz/xz

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// mostDictionary bounds the memory that unpacking takes: as much as xz -9 and zstd --ultra need.
const mostDictionary = 128 << 20

// unpack unpacks r if it is packed, and tells by which program.
func unpack(r io.Reader) (unpacked io.ReadCloser, kind string, err error) {
	b := bufio.NewReaderSize(r, 1<<20)
	head, err := b.Peek(kindBytes)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	err = nil
	switch kind = kindOf(head); kind {
	case gzipFile:
		unpacked, err = gzip.NewReader(b)
	case bzip2File:
		unpacked = io.NopCloser(bzip2.NewReader(b))
	case xzFile:
		var x *xz.Reader
		x, err = xz.NewReader(b, mostDictionary)
		unpacked = io.NopCloser(x)
	case zstdFile:
		var z *zstd.Decoder
		z, err = zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(mostDictionary))
		if err == nil {
			unpacked = z.IOReadCloser()
		}
	default:
		return io.NopCloser(b), "", nil
	}
	return unpacked, kind, err
}

// walkTar visits the members of a tar, packed or not, and checks the sum of the packer at the end. Of one that is not
// packed it reads no more than is asked for.
func walkTar(ctx context.Context, f *os.File, visit func(m member, r io.Reader) error) error {
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	section := io.NewSectionReader(f, 0, stat.Size())
	packed, kind, err := unpack(storageReader{section})
	if err != nil {
		return err
	}
	defer packed.Close()
	plain := bufio.NewReaderSize(bounded(packed, stat.Size()), 1<<16)
	head, err := plain.Peek(kindBytes)
	if err != nil && err != io.EOF {
		return err
	}
	if kind != "" {
		err = walkMembers(ctx, tar.NewReader(plain), head, kind, nil, visit)
		if err == nil {
			_, err = io.Copy(io.Discard, plain)
		}
		return err
	}
	if _, err := section.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return walkMembers(ctx, tar.NewReader(seekingReader{section}), head, "", section, visit)
}

// seekingReader is storageReader for files in which tar.Reader can pass over what is not wanted.
type seekingReader struct{ *io.SectionReader }

func (r seekingReader) Read(p []byte) (int, error) { return storageReader{r.SectionReader}.Read(p) }

// walkMembers visits the members of a tar that begins with head. section is where it lies; nil if that is packed.
func walkMembers(ctx context.Context, t *tar.Reader, head []byte, kind string, section *io.SectionReader, visit func(m member, r io.Reader) error) error {
	for first := true; ; first = false {
		h, err := t.Next()
		if err == io.EOF && (len(head) > 0 || !first) {
			return nil
		}
		none := err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader)
		if first && none && kindOf(head) != tarFile {
			return notArchive(head, kind)
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := tarMember(h)
		if err != nil {
			return err
		}
		if m.name == "." {
			continue
		}
		if section != nil && !sparse(h) {
			m.locate = func() (place, error) {
				offset, err := section.Seek(0, io.SeekCurrent)
				return place{offset: offset, packed: h.Size, size: h.Size}, err
			}
		}
		if err := visit(m, t); err != nil {
			return err
		}
	}
}

// sparse members lie in pieces.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// notArchive says what a file is in place of an archive; kind is what it is packed with, or "".
func notArchive(head []byte, kind string) error {
	if kind != "" {
		return fmt.Errorf("is %s, but not of a tar archive: unpacked, %s", kind, describe(head))
	}
	return fmt.Errorf("is not %s: %s", archiveNames, describe(head))
}

func tarMember(h *tar.Header) (m member, err error) {
	if m.name, err = memberName(h.Name); err != nil {
		return m, err
	}
	m.target = h.Linkname
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		m.kind = regular
	case tar.TypeDir:
		m.kind = folderMember
	case tar.TypeSymlink:
		m.kind = symbolicLink
	case tar.TypeLink:
		m.kind = hardLink
		m.target, err = memberName(h.Linkname)
	default:
		m.kind = otherMember
	}
	return m, err
}

// walkZip visits the members of a zip archive. The sum of each is checked if it is read.
func walkZip(ctx context.Context, f *os.File, visit func(m member, r io.Reader) error) error {
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(storageReaderAt{f}, stat.Size())
	if errors.Is(err, zip.ErrFormat) {
		return exit.Errorf(contract.ExitData, "the zip archive is cut off or damaged: it has no directory at its end")
	}
	if err != nil {
		return err
	}
	all := bounded(nil, stat.Size())
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := zipMember(f)
		if err != nil {
			return err
		}
		r := &zipReader{file: f, all: all}
		if m.kind == symbolicLink {
			target, err := io.ReadAll(io.LimitReader(r, longestName))
			if err != nil {
				return badData(m.name, err)
			}
			m.target = string(target)
		}
		err = visit(m, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func zipMember(f *zip.File) (m member, err error) {
	if m.name, err = memberName(strings.ReplaceAll(f.Name, `\`, "/")); err != nil { // some Windows programs write these
		return m, err
	}
	switch mode := f.Mode(); {
	case strings.HasSuffix(f.Name, "/"), mode.IsDir():
		m.kind = folderMember
	case mode.Type() == os.ModeSymlink:
		m.kind = symbolicLink
	case !mode.IsRegular():
		m.kind = otherMember
	}
	m.locate = func() (place, error) { return locateInZip(f) }
	return m, nil
}

var errEncrypted = errors.New("is encrypted: pack it without a password")

func locateInZip(f *zip.File) (p place, err error) {
	switch {
	case f.Flags&1 != 0:
		return p, errEncrypted
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return p, zip.ErrAlgorithm
	}
	p.offset, err = f.DataOffset()
	p.packed, p.size = int64(f.CompressedSize64), int64(f.UncompressedSize64)
	p.deflated, p.summed, p.crc = f.Method == zip.Deflate, true, f.CRC32
	return p, err
}

// zipReader opens a member when it is first read.
type zipReader struct {
	file *zip.File
	all  *boundedReader // counts what all members unpack to
	open io.ReadCloser
}

func (r *zipReader) Read(p []byte) (n int, err error) {
	if r.open == nil {
		if r.file.Flags&1 != 0 {
			return 0, errEncrypted
		}
		if r.open, err = r.file.Open(); err != nil {
			return 0, err
		}
	}
	r.all.Reader = r.open
	return r.all.Read(p)
}

func (r *zipReader) Close() error {
	if r.open == nil {
		return nil
	}
	return r.open.Close()
}

// storageReaderAt is storageReader for random access.
type storageReaderAt struct{ io.ReaderAt }

func (r storageReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = exit.Errorf(contract.ExitStorage, "%w", err)
	}
	return n, err
}
