package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// archiveSuffixes are the names by which a URI is known to name an archive. What the file really is its content tells.
var archiveSuffixes = []string{".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.bz2", ".tbz2", ".zip"}

// archiveNames says the same, for errors.
const archiveNames = "an archive: .tar, .tar.gz, .tar.xz, .tar.zst, .tar.bz2 or .zip"

// isArchive reports whether a name is that of an archive.
func isArchive(name string) bool {
	return slices.ContainsFunc(archiveSuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// archive is a tar file, packed or not, or a zip file. Nothing of it is ever unpacked to disk.
type archive struct {
	*listing
	file   *os.File
	name   string                   // URI
	member func(name string) string // URI of a member; nil: the archive's and its name
	walk   walker
	// last counts how often a name that is there more than once is: as for tar, the last one counts.
	last map[string]int
}

// walker calls visit with each member of an archive, in its order. r is read before visit returns, if at all.
type walker func(ctx context.Context, f *os.File, visit func(m member, r io.Reader) error) error

// member is what an archive says of one of its members.
type member struct {
	name string // clean and relative
	kind memberKind
	// target is where a link leads: from its own folder, or for a hard link from the root of the archive.
	target string
}

type memberKind int

const (
	regular memberKind = iota
	folderMember
	symbolicLink
	hardLink
	otherMember // a device or the like
)

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
	head := make([]byte, kindBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, wrap(a.name, exit.Errorf(contract.ExitStorage, "%w", err))
	}
	a.walk = walkTar
	if kindOf(head[:n]) == zipFile {
		a.walk = walkZip
	}
	if err := a.index(ctx); err != nil {
		return nil, badData(a.name, err)
	}
	return a, nil
}

// index lists the members.
func (a *archive) index(ctx context.Context) error {
	seen := map[string]int{} // how often, of regular files
	links := map[string]member{}
	a.listing, a.last = newListing(), map[string]int{}
	err := a.walk(ctx, a.file, func(m member, _ io.Reader) error {
		switch m.kind {
		case folderMember:
			return a.folder(m.name)
		case otherMember:
			return a.breaks(m.name, "is neither a file nor a folder")
		case symbolicLink, hardLink:
			links[m.name] = m
			return a.take(m.name)
		}
		delete(links, m.name)
		if seen[m.name]++; seen[m.name] > 1 {
			a.last[m.name] = seen[m.name]
			return nil
		}
		return a.listing.file(m.name, m.name)
	})
	if err != nil {
		return err
	}
	if len(links) > 0 {
		// A link that came after a file of its name took its place.
		a.files = slices.DeleteFunc(a.files, func(name string) bool { _, ok := links[name]; return ok })
		if err := a.follow(links); err != nil {
			return err
		}
	}
	return a.sort()
}

func (a *archive) uri(name string) string {
	switch {
	case a.member != nil:
		return a.member(name)
	case name == "":
		return a.name
	}
	return a.name + " " + name
}

func (a *archive) contents() *listing { return a.listing }

func (a *archive) read(ctx context.Context, wanted []string, visit func(i int, f *file) (bool, error)) error {
	index := map[string][]int{}
	for i, name := range wanted {
		index[a.key(name)] = append(index[a.key(name)], i)
	}
	seen := map[string]int{}
	err := a.walk(ctx, a.file, func(m member, r io.Reader) error {
		if m.kind != regular || len(index[m.name]) == 0 {
			return nil
		}
		if seen[m.name]++; seen[m.name] < a.last[m.name] {
			return nil
		}
		var content []byte
		for i, which := range index[m.name] { // more than one if there are links to it
			name, from := a.uri(wanted[which]), r
			if len(index[m.name]) > 1 && i == 0 {
				var err error
				if content, err = readAtMost(r, mostImageBytes); err != nil {
					return badData(name, err)
				}
			}
			if content != nil {
				from = bytes.NewReader(content)
			}
			if _, err := visit(which, &file{from, name}); err != nil {
				return badData(name, err)
			}
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

// bounded ends what comes out of an archive of the given size.
func bounded(r io.Reader, size int64) *boundedReader {
	return &boundedReader{r, size*mostUnpacked + 1<<30}
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

// memberName refuses names that lead out of the archive: nobody makes such a data set by accident.
func memberName(name string) (string, error) {
	if strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..") {
		return "", fmt.Errorf("the name %.200q leads out of the archive: pack it with relative names", name)
	}
	return path.Clean(name), nil
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
