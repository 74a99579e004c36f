package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// cache holds copies of remote files in a folder. The name of a copy is made of hashes of the file's URI and ETag, so
// that a changed file is another copy; its SHA-256 lies beside it, so that a damaged copy is noticed. Of several
// processes that want the same file one downloads it, and the others wait.
type cache struct {
	dir       string // "": a temporary one, once it is needed
	temporary bool
}

// close removes a temporary folder. Files of it that are open can still be read.
func (c *cache) close() {
	if c.temporary {
		os.RemoveAll(c.dir)
	}
}

// open makes the folder.
func (c *cache) open() (err error) {
	if c.dir == "" {
		c.dir, err = os.MkdirTemp("", "dataset-*")
		c.temporary = err == nil
	} else {
		err = os.MkdirAll(c.dir, 0o777)
	}
	if err != nil {
		return exit.Errorf(contract.ExitConfig, "the folder for copies of data cannot be made: %w", err)
	}
	return nil
}

// get returns the copy of an object.
func (c *cache) get(ctx context.Context, from reader, key string) (*os.File, error) {
	uri := from.URI(key)
	unlock, err := c.lock(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, info, err := from.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	version := info.ETag
	if version == "" {
		version = fmt.Sprint(info.Size, info.Modified)
	}
	return c.entry(ctx, uri, "downloading", version, path.Base(info.Key), info.Size, func(w io.Writer) error {
		n, err := io.Copy(w, storageReader{r})
		if err == nil && info.Size >= 0 && n != info.Size {
			err = exit.Errorf(contract.ExitStorage, "got %d of %d bytes", n, info.Size)
		}
		return err
	})
}

// entry returns the copy of the given version of what lies at uri. If there is no good one it is written by fill; older
// versions are deleted. doing says what fill does. The caller holds the lock.
func (c *cache) entry(ctx context.Context, uri, doing, version, base string, size int64, fill func(io.Writer) error) (*os.File, error) {
	prefix := filepath.Join(c.dir, short(uri)+"-")
	local := prefix + short(version) + "-" + base
	err := verify(local)
	if err == nil {
		return os.Open(local)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		telemetry.Log(ctx).Warn("the cached copy is damaged; "+doing+" again", "file", local, "object", uri, "error", err)
	}
	telemetry.Log(ctx).Info(doing, "object", uri, "bytes", size)
	if old, err := filepath.Glob(prefix + "*"); err == nil {
		for _, name := range old {
			os.Remove(name)
		}
	}
	err = write(local, fill)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return nil, exit.Errorf(contract.ExitStorage, "no space left in %s for %s of %d bytes: make room there, or raise the limit of the pod's ephemeral storage", c.dir, uri, size)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", doing, uri, err)
	}
	return os.Open(local)
}

// short is a part of a hash, long enough that two are never the same.
func short(s string) string {
	id := sha256.Sum256([]byte(s))
	return hex.EncodeToString(id[:8])
}

// lock takes the lock of a URI, between processes as well. It waits until ctx ends.
func (c *cache) lock(ctx context.Context, uri string) (unlock func(), err error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.dir, "."+short(uri)+".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "the folder for copies of remote data cannot be written: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}

func sumFile(local string) string { return local + ".sha256" }

// verify checks a copy against its sum.
func verify(local string) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	want, err := os.ReadFile(sumFile(local))
	if err != nil {
		return fmt.Errorf("no sum: %v", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != string(want) {
		return errors.New("the sum differs")
	}
	return nil
}

// write lets fill write a temporary file, writes its sum, and only then gives the file its name.
func write(local string, fill func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(local), ".download-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	defer tmp.Close()
	h := sha256.New()
	if err := fill(io.MultiWriter(tmp, h)); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.WriteFile(sumFile(local), []byte(hex.EncodeToString(h.Sum(nil))), 0o666); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), local)
}
