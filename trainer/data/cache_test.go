package data

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// bucket is a store of files in memory that counts the bytes that were read.
type bucket struct {
	store.Store
	files map[string][]byte
	read  int
}

func (b *bucket) URI(key string) string { return "s3://bucket/" + key }

func (b *bucket) Get(_ context.Context, key string) (io.ReadCloser, store.Info, error) {
	content, ok := b.files[key]
	if !ok {
		return nil, store.Info{}, store.ErrNotFound
	}
	return &counter{bytes.NewReader(content), b}, store.Info{Key: key, Size: int64(len(content)), ETag: string(content[len(content)-9:])}, nil
}

type counter struct {
	io.Reader
	bucket *bucket
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bucket.read += n
	return n, err
}

func (c *counter) Close() error { return nil }

func TestCache(t *testing.T) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })

	b := &bucket{files: map[string][]byte{cifarArchive: archive(cifarFolderOf())}}
	dir := filepath.Join(t.TempDir(), "cache")
	size := len(b.files[cifarArchive])
	expect := func(name string, bytes int) {
		t.Helper()
		b.read = 0
		d, err := Load(t.Context(), v1.DatasetSpec{Format: v1.CIFAR10}, 0, func(string) (store.Store, error) { return b, nil }, dir)
		if err != nil || d.Train.N != 10 || b.read != bytes {
			t.Errorf("%s: read %d bytes, want %d, %v", name, b.read, bytes, err)
		}
	}
	entry := func() string {
		t.Helper()
		matches, err := filepath.Glob(filepath.Join(dir, "*-"+cifarArchive))
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
	b.files[cifarArchive] = append(b.files[cifarArchive], gzipped(nil)...)
	expect("changed in the bucket", size+len(gzipped(nil)))
	if left, _ := filepath.Glob(filepath.Join(dir, ".download-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestFullDiskIsNamed(t *testing.T) {
	r := errReader{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}}
	_, err := cached(t.TempDir(), "s3://b/k", store.Info{Key: "k", Size: 5}, r)
	if err == nil || !strings.Contains(err.Error(), "no space left in") || !strings.Contains(err.Error(), "s3://b/k of 5 bytes") {
		t.Errorf("got %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestBrokenDownloadLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	if _, err := cached(dir, "s3://b/k", store.Info{Key: "k", Size: 5}, io.MultiReader(strings.NewReader("ab"), errReader{broken})); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := cached(dir, "s3://b/k", store.Info{Key: "k", Size: 5}, strings.NewReader("ab")); err == nil || !strings.Contains(err.Error(), "2 of 5 bytes") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
