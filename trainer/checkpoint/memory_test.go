package checkpoint

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// memory is a store in memory. Like S3, it makes an object's ETag from its content.
type memory map[string][]byte

func etag(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

func (m memory) Get(_ context.Context, key string) (io.ReadCloser, store.Info, error) {
	data, ok := m[key]
	if !ok {
		return nil, store.Info{}, fmt.Errorf("%s: %w", key, store.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(data)), store.Info{Key: key, Size: int64(len(data)), ETag: etag(data)}, nil
}

func (m memory) Put(_ context.Context, key string, r io.ReadSeeker, _ int64) (string, error) {
	data, err := io.ReadAll(r)
	m[key] = data
	return etag(data), err
}

func (m memory) PutIf(_ context.Context, key string, data []byte, ifMatch string) (string, error) {
	if old, ok := m[key]; (ok && etag(old) != ifMatch) || (!ok && ifMatch != "") {
		return "", fmt.Errorf("%s: %w", key, store.ErrPreconditionFailed)
	}
	m[key] = bytes.Clone(data)
	return etag(data), nil
}

func (m memory) List(_ context.Context, prefix string) (infos []store.Info, err error) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, prefix) {
			infos = append(infos, store.Info{Key: key, Size: int64(len(m[key]))})
		}
	}
	return infos, nil
}

func (m memory) Delete(_ context.Context, keys ...string) error {
	for _, key := range keys {
		delete(m, key)
	}
	return nil
}

func (m memory) URI(key string) string { return "memory:///" + key }
