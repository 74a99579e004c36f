package data

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// source opens the files of a data set.
type source struct {
	store    store.Store
	format   v1.DatasetFormat
	cacheDir string
}

// file is an open file; name is its URI.
type file struct {
	io.Reader
	name string
	io.Closer
}

// open opens the first of keys that exists, and unpacks it if its name ends in gz. needs says, for the error, which
// files the format is made of.
func (s *source) open(ctx context.Context, needs string, keys ...string) (*file, error) {
	for _, key := range keys {
		r, err := s.openRaw(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f := &file{bufio.NewReaderSize(storageReader{r}, 1<<20), s.store.URI(key), r}
		if strings.HasSuffix(key, "gz") {
			if f.Reader, err = gzip.NewReader(f.Reader); err != nil {
				r.Close()
				return nil, badData(f.name, err)
			}
		}
		return f, nil
	}
	return nil, exit.Errorf(contract.ExitData, "%s: %w: %s needs %s", s.store.URI(keys[0]), store.ErrNotFound, s.format, needs)
}

// openRaw opens a file as it is. One from a bucket is downloaded to the cache first, if there is one.
func (s *source) openRaw(ctx context.Context, key string) (io.ReadCloser, error) {
	r, info, err := s.store.Get(ctx, key)
	if err != nil || s.cacheDir == "" || strings.HasPrefix(s.store.URI(key), "file://") {
		return r, err
	}
	defer r.Close()
	return cached(s.cacheDir, s.store.URI(key), info, r)
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
