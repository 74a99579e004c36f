package data

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// packParallel is how many small objects are downloaded at once.
const packParallel = 32

// pack copies many small remote files into one tar file in the cache, in which they have numbers, since a key of a bucket
// need not be a name of a file. Its version is made of the names, sizes and dates
// of all of them, so that a second run in the same pod downloads nothing.
func (l *loose) pack(ctx context.Context, items []item) (files, error) {
	var version strings.Builder
	fmt.Fprintln(&version, "members are numbered")
	var size int64
	wanted := make([]store.Info, len(items))
	names := make([]string, len(items))
	for i, it := range items {
		info := l.infos[l.key(it.file)]
		if info.Size > mostImageBytes {
			return nil, exit.Errorf(contract.ExitData, "%s has %d bytes: at most %d are read", l.uri(it.file), info.Size, mostImageBytes)
		}
		wanted[i], names[i] = info, it.file
		size += info.Size
		fmt.Fprintln(&version, info.Key, info.Size, info.Modified.UnixNano())
	}
	t, err := l.source.numbered(ctx, l.uri(""), "downloading", version.String(), size, len(items), nil,
		func(add func(i int, content []byte) error) error { return l.download(ctx, wanted, add) })
	if err != nil {
		return nil, err
	}
	numbers := make(map[string]string, len(items))
	for i, name := range names {
		numbers[name] = strconv.Itoa(i)
	}
	t.listing, t.member = &listing{files: l.files, keys: numbers}, l.uri
	return t, nil
}

// numbered returns a tar file in the scratch folder with n members, which are called by their numbers. If there is none of
// this version of what lies at uri, fill adds them. name, if there is one, names a member for people.
func (s *source) numbered(ctx context.Context, uri, doing, version string, size int64, n int, name func(i int) string,
	fill func(add func(i int, content []byte) error) error) (*archive, error) {
	unlock, err := s.scratch.lock(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := s.scratch.entry(ctx, uri, doing, version, "images.tar", size, func(w io.Writer) error {
		t := tar.NewWriter(w)
		err := fill(func(i int, content []byte) error {
			h := &tar.Header{Name: strconv.Itoa(i), Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg}
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			_, err := t.Write(content)
			return err
		})
		if err != nil {
			return err
		}
		return t.Close()
	})
	if err != nil {
		return nil, err
	}
	s.opened = append(s.opened, f)
	files := make([]string, n)
	for i := range files {
		files[i] = strconv.Itoa(i)
	}
	return &archive{source: s, listing: &listing{files: files}, file: f, name: uri, walk: walkTar, member: func(number string) string {
		i, err := strconv.Atoi(number)
		if err != nil || name == nil {
			return uri
		}
		return name(i)
	}}, nil
}

// download adds all files, in order.
func (l *loose) download(ctx context.Context, wanted []store.Info, add func(i int, content []byte) error) error {
	for first := 0; len(wanted) > 0; first += packParallel {
		chunk := wanted[:min(packParallel, len(wanted))]
		wanted = wanted[len(chunk):]
		contents, errs := make([][]byte, len(chunk)), make([]error, len(chunk))
		var wg sync.WaitGroup
		for i, info := range chunk {
			wg.Go(func() { contents[i], errs[i] = l.downloadOne(ctx, info.Key) })
		}
		wg.Wait()
		for i := range chunk {
			if errs[i] != nil {
				return errs[i]
			}
			if err := add(first+i, contents[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loose) downloadOne(ctx context.Context, key string) ([]byte, error) {
	r, _, err := l.source.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := readAtMost(storageReader{r}, mostImageBytes)
	if err != nil {
		return nil, badData(l.uri(key), err)
	}
	sum := l.source.sumOf(key)
	if sum == nil {
		return content, nil
	}
	sum.Write(content)
	return content, sum.check(l.uri(key))
}
