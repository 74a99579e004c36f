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
	numbers := make(map[string]string, len(items))
	for i, it := range items {
		info := l.infos[l.key(it.file)]
		if info.Size > mostImageBytes {
			return nil, exit.Errorf(contract.ExitData, "%s has %d bytes: at most %d are read", l.uri(it.file), info.Size, mostImageBytes)
		}
		wanted[i], numbers[it.file] = info, strconv.Itoa(i)
		size += info.Size
		fmt.Fprintln(&version, info.Key, info.Size, info.Modified.UnixNano())
	}
	c, uri := l.source.cache, l.uri("")
	unlock, err := c.lock(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := c.entry(ctx, uri, version.String(), "images.tar", size, func(w io.Writer) error { return l.download(ctx, wanted, w) })
	if err != nil {
		return nil, err
	}
	l.source.opened = append(l.source.opened, f)
	return &archive{listing: &listing{files: l.files, keys: numbers}, file: f, name: uri, member: l.uri, walk: walkTar}, nil
}

// download writes all files to a tar, in order.
func (l *loose) download(ctx context.Context, wanted []store.Info, w io.Writer) error {
	t := tar.NewWriter(w)
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
			if err := t.WriteHeader(&tar.Header{Name: strconv.Itoa(first + i), Size: int64(len(contents[i])), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
				return err
			}
			if _, err := t.Write(contents[i]); err != nil {
				return err
			}
		}
	}
	return t.Close()
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
