package data

import (
	"context"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// files are the files below a URI, or the members of an archive.
type files interface {
	// contents are what there is; its names are those that the other methods take.
	contents() *listing
	names() []string
	// read calls visit with each of the wanted files, until it returns false or an error. Archives are read in their
	// own order and to the end. Errors name the file.
	read(ctx context.Context, wanted []string, visit func(i int, f *file) (more bool, err error)) error
	// direct returns the wanted files for reading in any order, later.
	direct(ctx context.Context, wanted []string) (contents, error)
	// uri of a file, for people; "" is the folder or archive itself.
	uri(name string) string
}

// loose are the files in a folder.
type loose struct {
	*listing
	source *source
	infos  map[string]store.Info // by key, of a bucket
}

func (l *loose) contents() *listing { return l.listing }

func (l *loose) uri(name string) string { return l.source.store.URI(l.key(name)) }

func (l *loose) read(ctx context.Context, wanted []string, visit func(i int, f *file) (bool, error)) error {
	for i, name := range wanted {
		f, err := l.source.fetch(ctx, l.key(name))
		if err != nil {
			return err
		}
		more, err := visitFile(i, f, l.uri(name), visit)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// direct is for files of this machine.
func (l *loose) direct(_ context.Context, wanted []string) (contents, error) {
	c := &folderContents{source: l.source, keys: make([]string, len(wanted)), stamps: make([]atomic.Int64, len(wanted))}
	for i, name := range wanted {
		c.keys[i] = l.key(name)
	}
	return c, nil
}

func visitFile(i int, f *os.File, name string, visit func(i int, f *file) (bool, error)) (bool, error) {
	defer f.Close()
	more, err := visit(i, &file{f, name})
	if err != nil {
		err = badData(name, err)
	}
	return more, err
}

// find returns the name of the file called one of base, in the outermost folder that has one.
func find(names []string, base ...string) (string, bool) {
	best := ""
	for _, b := range base {
		for _, n := range names {
			if path.Base(n) == b && (best == "" || strings.Count(n, "/") < strings.Count(best, "/")) {
				best = n
			}
		}
	}
	return best, best != ""
}

// beside returns the names of files that lie in the same folder as name.
func beside(name string, base []string) []string {
	folder := name[:len(name)-len(path.Base(name))]
	all := make([]string, len(base))
	for i, b := range base {
		all[i] = folder + b
	}
	return all
}

// missing returns the first of wanted that is not among names.
func missing(names, wanted []string) (string, bool) {
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return w, true
		}
	}
	return "", false
}
