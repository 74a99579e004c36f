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

// archive is a tar file, packed or not, or a zip file.
type archive struct {
	*listing
	source *source
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
	// locate tells where a file lies in the archive; nil if it lies there in another form.
	locate func() (place, error)
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
	a := &archive{source: s, file: f, name: s.store.URI(key)}
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

// match visits the wanted files in the order of the archive: more than one if there are links to it.
func (a *archive) match(ctx context.Context, wanted []string, visit func(which []int, m member, r io.Reader) error) error {
	index := map[string][]int{}
	for i, name := range wanted {
		index[a.key(name)] = append(index[a.key(name)], i)
	}
	seen := map[string]int{}
	err := a.walk(ctx, a.file, func(m member, r io.Reader) error {
		if m.kind != regular || len(index[m.name]) == 0 {
			return nil
		}
		if a.last[m.name] > 0 {
			if seen[m.name]++; seen[m.name] < a.last[m.name] {
				return nil
			}
		}
		return visit(index[m.name], m, r)
	})
	if err != nil && exit.Code(err) == contract.ExitUnexpected {
		err = badData(a.name, err)
	}
	return err
}

func (a *archive) read(ctx context.Context, wanted []string, visit func(i int, f *file) (bool, error)) error {
	return a.match(ctx, wanted, func(which []int, m member, r io.Reader) error {
		var content []byte
		for i, this := range which {
			name, from := a.uri(wanted[this]), r
			if len(which) > 1 && i == 0 {
				var err error
				if content, err = readAtMost(r, mostImageBytes); err != nil {
					return badData(name, err)
				}
			}
			if content != nil {
				from = bytes.NewReader(content)
			}
			if _, err := visit(this, &file{from, name}); err != nil {
				return badData(name, err)
			}
		}
		return nil
	})
}

var errNotDirect = errors.New("the members of the archive cannot be read one by one")

// direct returns the wanted files where they lie. Those of a packed archive are unpacked, into a tar file.
func (a *archive) direct(ctx context.Context, wanted []string) (contents, error) {
	c := &archiveContents{file: a.file, places: make([]place, len(wanted)), name: func(i int) string { return a.uri(wanted[i]) }}
	found := 0
	err := a.match(ctx, wanted, func(which []int, m member, _ io.Reader) error {
		if m.locate == nil {
			return errNotDirect
		}
		p, err := m.locate()
		if err != nil {
			return badData(a.uri(wanted[which[0]]), err)
		}
		for _, i := range which {
			c.places[i] = p
			found++
		}
		return nil
	})
	if errors.Is(err, errNotDirect) {
		return a.unpacked(ctx, wanted)
	}
	if err != nil {
		return nil, err
	}
	if found < len(wanted) {
		return nil, a.lost(len(wanted)-found, len(wanted))
	}
	info, err := a.file.Stat()
	if err != nil {
		return nil, wrap(a.name, exit.Errorf(contract.ExitStorage, "%w", err))
	}
	c.stamp = stamp(info)
	a.source.keep(a.file)
	return c, nil
}

// lost is the error when there are fewer images than were listed.
func (a *archive) lost(n, of int) error {
	return exit.Errorf(contract.ExitData, "%s: lost %d of %d images while it was read", a.name, n, of)
}

// unpacked copies the wanted files to a tar file, in which they have numbers.
func (a *archive) unpacked(ctx context.Context, wanted []string) (contents, error) {
	info, err := a.file.Stat()
	if err != nil {
		return nil, wrap(a.name, exit.Errorf(contract.ExitStorage, "%w", err))
	}
	version := fmt.Sprint(stamp(info), wanted)
	t, err := a.source.numbered(ctx, a.name+" unpacked", "unpacking", version, info.Size(), len(wanted), a.uriOf(wanted), func(add func(i int, content []byte) error) error {
		return a.read(ctx, wanted, func(i int, f *file) (bool, error) {
			content, err := readAtMost(f, mostImageBytes)
			if err == nil {
				err = add(i, content)
			}
			return true, err
		})
	})
	if err != nil {
		return nil, err
	}
	return t.direct(ctx, t.names())
}

func (a *archive) uriOf(names []string) func(i int) string {
	return func(i int) string { return a.uri(names[i]) }
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
