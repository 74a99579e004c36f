package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// hashedSize is the size up to which an ETag is the hash of the content; above it is made of size and time.
const hashedSize = 1 << 20

// dir is a folder. Names that begin with a dot are its own: half-written files in .tmp, and locks.
type dir struct{ root string }

func newDir(root string) *dir { return &dir{filepath.Clean(root)} }

// sweep removes what crashes left half-written: a file that is being written is locked by its writer. The minute is for
// the moment between creating and locking it.
func (d *dir) sweep() {
	entries, _ := os.ReadDir(d.tmp())
	for _, e := range entries {
		path := filepath.Join(d.tmp(), e.Name())
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if flock(f, false) == nil {
			os.Remove(path)
		}
		f.Close()
	}
}

func (d *dir) tmp() string { return filepath.Join(d.root, ".tmp") }

func (d *dir) URI(key string) string { return "file://" + filepath.ToSlash(filepath.Join(d.root, key)) }

func (d *dir) path(key string) string { return filepath.Join(d.root, filepath.FromSlash(key)) }

func (d *dir) Get(_ context.Context, key string) (io.ReadCloser, Info, error) {
	f, info, err := d.open(key)
	if err != nil {
		return nil, Info{}, d.explain(key, err)
	}
	return f, info, nil
}

func (d *dir) open(key string) (io.ReadCloser, Info, error) {
	f, info, err := openFile(d.path(key))
	info.Key = key
	return f, info, err
}

// openFile opens a file and describes it, but for the key.
func openFile(path string) (io.ReadCloser, Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Info{}, err
	}
	stat, err := f.Stat()
	if err == nil && stat.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, Info{}, err
	}
	info := Info{Size: stat.Size(), Modified: stat.ModTime()}
	if stat.Size() > hashedSize {
		info.ETag = fmt.Sprintf("%x-%x", stat.Size(), stat.ModTime().UnixNano())
		return f, info, nil
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	info.Size, info.ETag = int64(len(data)), hashETag(data)
	return io.NopCloser(bytes.NewReader(data)), info, err
}

func hashETag(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

func (d *dir) Put(_ context.Context, key string, r io.ReadSeeker, size int64) (string, error) {
	etag, err := d.write(key, r, size)
	return etag, d.explain(key, err)
}

func (d *dir) PutIf(ctx context.Context, key string, data []byte, ifMatch string) (string, error) {
	etag, err := d.putIf(ctx, key, data, ifMatch)
	return etag, d.explain(key, err)
}

func (d *dir) putIf(ctx context.Context, key string, data []byte, ifMatch string) (string, error) {
	unlock, err := lock(ctx, d.path(key))
	if err != nil {
		return "", err
	}
	defer unlock()
	f, info, err := d.open(key)
	switch {
	case err == nil:
		f.Close()
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if info.ETag != ifMatch {
		return "", ErrPreconditionFailed
	}
	return d.write(key, bytes.NewReader(data), int64(len(data)))
}

func (d *dir) List(_ context.Context, prefix string) ([]Info, error) {
	var infos []Info
	start := d.path(prefix[:strings.LastIndex(prefix, "/")+1])
	err := filepath.WalkDir(start, func(p string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // never was, or was deleted under our eyes
			return nil
		case err != nil:
			return err
		case p != start && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		}
		rel, err := filepath.Rel(d.root, p)
		if key := filepath.ToSlash(rel); err == nil && strings.HasPrefix(key, prefix) {
			if stat, err := e.Info(); err == nil {
				infos = append(infos, Info{Key: key, Size: stat.Size(), Modified: stat.ModTime()})
			}
		}
		return err
	})
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return infos, d.explain(prefix, err)
}

func (d *dir) Delete(_ context.Context, keys ...string) error {
	for _, key := range keys {
		p := d.path(key)
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.explain(key, err)
		}
		for p = filepath.Dir(p); p != d.root && os.Remove(p) == nil; p = filepath.Dir(p) { // folders left empty
		}
	}
	return nil
}

// explain names the file, and gives the errors that are not the program's an exit code.
func (d *dir) explain(key string, err error) error {
	uri := d.URI(key)
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) { // its text would name the path once more
		err = pathErr.Err
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", uri, ErrNotFound)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return exit.Errorf(contract.ExitConfig, "%s: %w", uri, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return exit.Errorf(contract.ExitStorage, "%s: %w: make room there", uri, err)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE):
		return exit.Errorf(contract.ExitStorage, "%s: %w", uri, err)
	}
	return fmt.Errorf("%s: %w", uri, err)
}
