package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// write puts a file in place whole: it is written under another name, synced, and renamed.
func (d *dir) write(key string, r io.ReadSeeker, size int64) (string, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	if err := mkdirAll(d.tmp()); err != nil {
		return "", err
	}
	tmp := filepath.Join(d.tmp(), rand.Text())
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp) // fails once it is renamed
	defer f.Close()
	if err := writeSynced(f, r, size); err != nil {
		return "", err
	}
	written, info, err := openFile(tmp) // while nobody else can change or delete it
	if err != nil {
		return "", err
	}
	written.Close()
	return info.ETag, rename(tmp, d.path(key))
}

// writeSynced writes to a file that it locks, so that sweep leaves it alone until it is closed.
func writeSynced(f *os.File, r io.Reader, size int64) error {
	if err := flock(f, true); err != nil {
		return fmt.Errorf("flock: %w", err)
	}
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = fmt.Errorf("got %d of %d bytes", n, size)
	}
	if err != nil {
		return err
	}
	return f.Sync()
}

// rename moves a file, making the folders, and syncs the folder it is in.
func rename(from, to string) error {
	for range 10 {
		if err := mkdirAll(filepath.Dir(to)); err != nil {
			return err
		}
		err := os.Rename(from, to)
		if err == nil {
			return syncDir(filepath.Dir(to))
		}
		if !errors.Is(err, fs.ErrNotExist) { // else Delete took away the folder while it was empty
			return err
		}
	}
	return fmt.Errorf("the folder of %s is deleted all the time", to)
}

// mkdirAll is os.MkdirAll that also makes durable what it made.
func mkdirAll(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lock takes the lock that goes with a file, between processes as well. It waits until ctx ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := mkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		err := flock(f, false)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			f.Close()
			return nil, fmt.Errorf("flock: %w", err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the lock of another process: %w", ctx.Err())
		}
	}
}
