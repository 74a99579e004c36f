package data

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// cached returns a local copy of the object that r reads. The copy's name holds a hash of the object's URI and ETag, so
// that a changed object is another file; its SHA-256 lies beside it, so that a damaged copy is noticed.
func cached(cacheDir, uri string, info store.Info, r io.Reader) (io.ReadCloser, error) {
	id := sha256.Sum256([]byte(uri + "\x00" + info.ETag))
	local := filepath.Join(cacheDir, hex.EncodeToString(id[:8])+"-"+path.Base(info.Key))
	err := verify(local)
	if err == nil {
		return os.Open(local)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("the cached copy is damaged; downloading again", "file", local, "object", uri, "error", err)
	}
	slog.Info("downloading", "object", uri, "bytes", info.Size)
	if err := download(local, info.Size, r); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return nil, fmt.Errorf("no space left in %s for %s of %d bytes: make room there", cacheDir, uri, info.Size)
		}
		return nil, fmt.Errorf("downloading %s: %w", uri, err)
	}
	return os.Open(local)
}

func sumFile(local string) string { return local + ".sha256" }

// verify checks a cached file against its sum.
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

// download writes r to a temporary file, its sum, and only then gives the file its name.
func download(local string, size int64, r io.Reader) (err error) {
	if err := os.MkdirAll(filepath.Dir(local), 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(local), ".download-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	defer tmp.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, h), r)
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("got %d of %d bytes", n, size)
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.WriteFile(sumFile(local), []byte(hex.EncodeToString(h.Sum(nil))), 0o666); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), local)
}
