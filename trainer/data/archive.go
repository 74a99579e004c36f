package data

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip" // in two thirds of the standard library's time

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// archive is a tar file, packed by gzip or not. Nothing of it is ever unpacked to disk.
type archive struct {
	file   *os.File
	name   string                   // URI
	member func(name string) string // URI of a member; nil: the archive's and its name
	list   []string
}

// openArchive fetches an archive and reads what is in it.
func (s *source) openArchive(ctx context.Context, key string) (files, error) {
	f, err := s.fetch(ctx, key)
	if err != nil {
		return nil, err
	}
	s.opened = append(s.opened, f)
	if _, listed := s.listedSum(key); listed { // so it is meant to be another one than the published
		s.publishedIDX = nil
	}
	a := &archive{file: f, name: s.store.URI(key)}
	err = walkTar(ctx, f, func(name string, _ io.Reader) error {
		a.list = append(a.list, name)
		return nil
	})
	if err != nil {
		return nil, badData(a.name, err)
	}
	slices.Sort(a.list)
	return a, nil
}

func (a *archive) names() []string { return a.list }

func (a *archive) uri(name string) string {
	switch {
	case a.member != nil:
		return a.member(name)
	case name == "":
		return a.name
	}
	return a.name + " " + name
}

func (a *archive) read(ctx context.Context, wanted []string, visit func(i int, f *file) (bool, error)) error {
	index := map[string]int{}
	for i, name := range wanted {
		index[name] = i
	}
	err := walkTar(ctx, a.file, func(name string, r io.Reader) error {
		i, ok := index[name]
		if !ok {
			return nil
		}
		delete(index, name)
		if _, err := visit(i, &file{r, a.uri(name)}); err != nil {
			return badData(a.uri(name), err)
		}
		return nil
	})
	if err != nil && exit.Code(err) == contract.ExitUnexpected {
		err = badData(a.name, err)
	}
	return err
}

// mostUnpacked is how much larger than the archive its content may be, beyond the first gibibyte. Images hardly shrink;
// a bomb grows a thousandfold.
const mostUnpacked = 100

// walkTar calls visit with each regular file of a tar or tar.gz, and checks the sum of gzip at the end.
func walkTar(ctx context.Context, f *os.File, visit func(name string, r io.Reader) error) error {
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := gunzip(storageReader{io.NewSectionReader(f, 0, stat.Size())})
	if err != nil {
		return err
	}
	limit := stat.Size()*mostUnpacked + 1<<30
	bounded := &boundedReader{r, limit}
	for t := tar.NewReader(bounded); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := memberName(h.Name)
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || hidden(name) {
			continue
		}
		if err := visit(name, t); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, bounded)
	return err
}

// memberName refuses names that lead out of the archive: nobody makes such a data set by accident.
func memberName(name string) (string, error) {
	if strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..") {
		return "", fmt.Errorf("the name %q leads out of the archive: pack it with relative names", name)
	}
	return path.Clean(name), nil
}

// hidden reports whether a file is one that other programs leave behind, such as .DS_Store or ._cat.png.
func hidden(name string) bool { return strings.HasPrefix(path.Base(name), ".") }

// gunzip unpacks r if it is packed.
func gunzip(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	if magic, err := b.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return b, nil
	}
	return gzip.NewReader(b)
}

var errTooLarge = errors.New("unpacks to far more than a data set: it is damaged, or a decompression bomb")

// boundedReader fails after limit bytes.
type boundedReader struct {
	io.Reader
	left int64
}

func (r *boundedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// storageReader marks read errors as those of the storage, so that they are not taken for bad data.
type storageReader struct{ io.Reader }

func (r storageReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF && exit.Code(err) == contract.ExitUnexpected {
		err = exit.Errorf(contract.ExitStorage, "%w", err)
	}
	return n, err
}
