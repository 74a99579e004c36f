package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// source gets the files of a data set from where its URI points, checks their sums, and keeps copies of remote ones.
type source struct {
	spec  v1.DatasetSpec
	store reader
	// archive is the file that the URI names; "" if it names a folder.
	archive string
	cache   *cache // nil: the files are local
	scratch *cache // for what is made of files
	whole   bool   // training images are kept as they are in their files
	// published and publishedIDX hold the MD5 sums that the authors of the data set published, by base name.
	published, publishedIDX map[string]string
	opened                  []*os.File // until close
}

// reader is what is needed of a store. Web servers do not implement lister.
type reader interface {
	Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error)
	URI(key string) string
}

type lister interface {
	reader
	List(ctx context.Context, prefix string) ([]store.Info, error)
}

// file is an open file; name is its URI.
type file struct {
	io.Reader
	name string
}

// newSource opens the store at the data set's URI, with open if it is a folder or a bucket.
func newSource(spec v1.DatasetSpec, open func(uri string) (store.Store, error), c *cache) (*source, error) {
	s := &source{spec: spec, cache: c, scratch: c, published: published[spec.Format], publishedIDX: publishedIDX[spec.Format]}
	folder := spec.URI
	u, err := url.Parse(spec.URI)
	if err != nil && strings.HasPrefix(strings.ToLower(spec.URI), "http") {
		return nil, exit.Errorf(contract.ExitConfig, "%q is not a URI: %w", uri.Public(spec.URI), bare(err))
	}
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		web, err := newWeb(u)
		if isArchive(u.Path) {
			s.archive = path.Base(u.Path)
		}
		s.store = web
		return s, err
	}
	if isArchive(folder) {
		i := strings.LastIndex(folder, "/")
		folder, s.archive = folder[:i+1], folder[i+1:]
	}
	s.store, err = open(folder)
	if strings.HasPrefix(folder, "file://") {
		s.cache = nil
	}
	return s, err
}

// files returns the files below the URI, or in the archive that it names. Web servers list nothing: there, groups are
// looked for, and those of the first group of which the first file exists are taken.
func (s *source) files(ctx context.Context, groups [][]string) (files, error) {
	if s.archive != "" {
		if err := s.checkSumNames([]string{s.archive}); err != nil {
			return nil, err
		}
		return s.openArchive(ctx, s.archive)
	}
	l := &loose{source: s}
	var err error
	if folder, local := strings.CutPrefix(s.store.URI(""), "file://"); local {
		l.listing, err = listFolder(folder)
	} else if bucket, ok := s.store.(lister); ok {
		l.listing, l.infos, err = listBucket(ctx, bucket)
	} else {
		l.listing, err = s.probe(ctx, groups)
	}
	if err != nil {
		return nil, err
	}
	return l, s.checkSumNames(l.files)
}

// listBucket lists objects. A key may have // in it, which programs that join names leave there; one that ends in a
// slash is a folder, as the web pages of S3 servers make them.
func listBucket(ctx context.Context, bucket lister) (*listing, map[string]store.Info, error) {
	infos, err := bucket.List(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	l, byKey := newListing(), make(map[string]store.Info, len(infos))
	for _, info := range infos {
		name := strings.TrimPrefix(path.Clean("/"+info.Key), "/")
		switch {
		case name == "":
		case strings.HasSuffix(info.Key, "/"):
			err = l.folder(name)
		default:
			byKey[info.Key] = info
			err = l.file(name, info.Key)
		}
		if err != nil {
			return nil, nil, wrap(bucket.URI(""), err)
		}
	}
	if err := l.sort(); err != nil {
		return nil, nil, wrap(bucket.URI(""), err)
	}
	return l, byKey, nil
}

// probe looks for the first file of each group.
func (s *source) probe(ctx context.Context, groups [][]string) (*listing, error) {
	l := newListing()
	for _, group := range groups {
		r, _, err := s.store.Get(ctx, group[0])
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.Close()
		for _, name := range group {
			if err := l.file(name, name); err != nil {
				return nil, err
			}
		}
		break
	}
	return l, l.sort()
}

// keep leaves a file open when the source is closed, for those who still read it. It is closed once nobody has it.
func (s *source) keep(f *os.File) {
	s.opened = slices.DeleteFunc(s.opened, func(o *os.File) bool { return o == f })
}

func (s *source) close() {
	for _, f := range s.opened {
		f.Close()
	}
}

// checkSumNames refuses sums of files that do not exist: most likely a name is misspelt.
func (s *source) checkSumNames(names []string) error {
	for name := range s.spec.SHA256 {
		if !slices.ContainsFunc(names, func(n string) bool { return n == name || path.Base(n) == name }) {
			return exit.Errorf(contract.ExitConfig, "spec.dataset.sha256: there is no file %q at %s: it holds %s", name, s.store.URI(""), someOf(names))
		}
	}
	return nil
}

// nothingFits is the error when the files at the URI are not those of the format.
func (s *source) nothingFits(fs files, needs string) error {
	hint := ""
	if _, ok := s.store.(lister); !ok && s.archive == "" {
		hint = "; a web server cannot be asked what it has: name the archive itself in the URI"
	}
	return exit.Errorf(contract.ExitData, "%s: %w: %s needs %s; it holds %s%s", fs.uri(""), store.ErrNotFound, s.spec.Format, needs, someOf(fs.names()), hint)
}

// someOf lists the first of names.
func someOf(names []string) string {
	const most = 5
	switch n := len(names); {
	case n == 0:
		return "nothing"
	case n > most:
		return fmt.Sprintf("%s and %d more files", strings.Join(names[:most], ", "), n-most)
	}
	return strings.Join(names, ", ")
}

// fetch opens a file, from the cache if it is a remote one, after its sum was checked.
func (s *source) fetch(ctx context.Context, key string) (*os.File, error) {
	f, err := s.open(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := s.checkSum(f, key); err != nil {
		f.Close()
		if s.cache != nil { // so that a download that went wrong is not kept
			os.Remove(f.Name())
		}
		return nil, err
	}
	return f, nil
}

func (s *source) open(ctx context.Context, key string) (*os.File, error) {
	if s.cache != nil {
		return s.cache.get(ctx, s.store, key)
	}
	f, err := os.Open(strings.TrimPrefix(s.store.URI(key), "file://"))
	if err == nil {
		return f, nil
	}
	if _, _, explained := s.store.Get(ctx, key); explained != nil {
		err = explained
	}
	return nil, err
}

// checkSum compares the sum of a file, if one is known, and rewinds it.
func (s *source) checkSum(f *os.File, key string) error {
	sum := s.sumOf(key)
	if sum == nil {
		return nil
	}
	if _, err := io.Copy(sum, f); err != nil {
		return exit.Errorf(contract.ExitStorage, "%s: %w", s.store.URI(key), err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return sum.check(s.store.URI(key))
}

// sumOf returns the sum that a file must have: the one in the spec, else the published one; nil if there is none.
func (s *source) sumOf(key string) *checksum {
	if want, listed := s.listedSum(key); listed {
		return listedSHA256(want)
	}
	if want, known := s.published[path.Base(key)]; known {
		return publishedMD5(want)
	}
	return nil
}

// listedSum returns the SHA-256 that the spec lists for a file, by its whole name or the last part of it.
func (s *source) listedSum(key string) (sum string, listed bool) {
	c, listed := s.spec.SHA256[key]
	if !listed {
		c, listed = s.spec.SHA256[path.Base(key)]
	}
	return string(c), listed
}

// badData says that a file is not what it should be; an error that has an exit code already keeps it.
func badData(name string, err error) error {
	switch {
	case exit.Code(err) != contract.ExitUnexpected:
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		err = exit.Errorf(contract.ExitData, "the file is cut off")
	default:
		err = exit.Errorf(contract.ExitData, "%w", err)
	}
	return wrap(name, err)
}

// wrap puts a name before an error and keeps its exit code.
func wrap(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }
