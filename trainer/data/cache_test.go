package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// bucket is a store of files in memory that counts the bytes that were read.
type bucket struct {
	store.Store
	files map[string][]byte
	read  atomic.Int64
}

func (b *bucket) URI(key string) string { return "s3://bucket/" + key }

func (b *bucket) List(context.Context, string) (infos []store.Info, err error) {
	for key, content := range b.files {
		infos = append(infos, store.Info{Key: key, Size: int64(len(content)), Modified: time.Unix(int64(crc32.ChecksumIEEE(content)), 0)})
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos, nil
}

func (b *bucket) Get(_ context.Context, key string) (io.ReadCloser, store.Info, error) {
	content, ok := b.files[key]
	if !ok {
		return nil, store.Info{}, fmt.Errorf("%s: %w", b.URI(key), store.ErrNotFound)
	}
	return &counter{bytes.NewReader(content), b}, store.Info{Key: key, Size: int64(len(content)), ETag: fmt.Sprint(crc32.ChecksumIEEE(content))}, nil
}

type counter struct {
	io.Reader
	bucket *bucket
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bucket.read.Add(int64(n))
	return n, err
}

func (c *counter) Close() error { return nil }

// quiet hides the log of a test.
func quiet(t *testing.T) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}

func TestCache(t *testing.T) {
	quiet(t)
	const name = "cifar-10-binary.tar.gz"
	b := &bucket{files: map[string][]byte{name: tarGz("", cifarFolderOf())}}
	dir := filepath.Join(t.TempDir(), "cache")
	size := len(b.files[name])
	expect := func(what string, bytes int) {
		t.Helper()
		b.read.Store(0)
		d, err := load(t.Context(), v1.DatasetSpec{Format: v1.CIFAR10, URI: "s3://bucket"}, 0, func(string) (store.Store, error) { return b, nil }, dir)
		if err != nil || d.Train.N != 10 || int(b.read.Load()) != bytes {
			t.Errorf("%s: read %d bytes, want %d, %v", what, b.read.Load(), bytes, err)
		}
	}
	entry := func() string {
		t.Helper()
		matches, err := filepath.Glob(filepath.Join(dir, "*-"+name))
		if err != nil || len(matches) != 1 {
			t.Fatalf("entries %v, %v", matches, err)
		}
		return matches[0]
	}

	expect("first time", size) // for the training images; the test images come from the same copy
	expect("second time", 0)
	os.Truncate(entry(), 100)
	expect("cut off", size)
	os.WriteFile(entry(), make([]byte, size), 0o666)
	expect("other content", size)
	os.Remove(sumFile(entry()))
	expect("no sum", size)
	b.files[name] = append(b.files[name], gzipped(nil)...)
	expect("changed in the bucket", size+len(gzipped(nil)))
	entry() // the old version is gone
	if left, _ := filepath.Glob(filepath.Join(dir, ".download-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestConcurrentRunsDownloadOnce(t *testing.T) {
	quiet(t)
	const name = "cifar-10-binary.tar.gz"
	b := &bucket{files: map[string][]byte{name: tarGz("", cifarFolderOf())}}
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { // each has a cache of its own, as processes have
			_, err := load(context.Background(), v1.DatasetSpec{Format: v1.CIFAR10, URI: "s3://bucket"}, 0, func(string) (store.Store, error) { return b, nil }, dir)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if int(b.read.Load()) != len(b.files[name]) {
		t.Errorf("read %d bytes of %d", b.read.Load(), len(b.files[name]))
	}
}

func TestWaitingForTheCacheEndsWithTheContext(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	unlock, err := c.lock(t.Context(), "s3://b/k")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.lock(ctx, "s3://b/k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCacheFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o666)
	b := &bucket{files: map[string][]byte{"k": nil}}
	_, err := (&cache{dir: file}).get(t.Context(), b, "k")
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// one is a store of one object that is read from r.
type one struct {
	store.Store
	r    io.Reader
	size int64
}

func (o one) URI(key string) string { return "s3://b/" + key }
func (o one) Get(_ context.Context, key string) (io.ReadCloser, store.Info, error) {
	return io.NopCloser(o.r), store.Info{Key: key, Size: o.size}, nil
}

func TestFullDiskIsNamed(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	_, err := c.entry(t.Context(), "s3://b/k", "downloading", "1", "k", 5, func(io.Writer) error { return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} })
	if exit.Code(err) != contract.ExitStorage || !strings.Contains(err.Error(), "no space left in "+c.dir+" for s3://b/k of 5 bytes") {
		t.Errorf("got %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestBrokenDownloadLeavesNothing(t *testing.T) {
	quiet(t)
	c := &cache{dir: t.TempDir()}
	broken := errors.New("broken")
	if _, err := c.get(t.Context(), one{r: io.MultiReader(strings.NewReader("ab"), errReader{broken}), size: 5}, "k"); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := c.get(t.Context(), one{r: strings.NewReader("ab"), size: 5}, "k"); err == nil || !strings.Contains(err.Error(), "2 of 5 bytes") {
		t.Errorf("got %v", err)
	}
	left, _ := os.ReadDir(c.dir)
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), ".lock") {
			t.Errorf("left over: %s", e.Name())
		}
	}
}
