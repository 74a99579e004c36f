package store

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

func (s *s3Store) Get(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	d := &download{ctx: ctx, store: s, key: key}
	var info minio.ObjectInfo
	err := s.retry(ctx, key, func() (err error) {
		info, err = d.request(minio.GetObjectOptions{})
		return err
	})
	if err != nil {
		return nil, Info{}, err
	}
	d.etag, d.size = info.ETag, info.Size
	return d, Info{Key: key, Size: info.Size, ETag: info.ETag, Modified: info.LastModified}, nil
}

// download reads an object. When the connection breaks or stalls it asks for the rest, of the same version.
type download struct {
	ctx    context.Context
	store  *s3Store
	key    string
	etag   string
	offset int64
	size   int64

	body   io.ReadCloser
	cancel context.CancelFunc
	stall  *time.Timer // cancels the request; runs only while we wait for the server
}

// request begins a request and leaves its answer in d.body.
func (d *download) request(opts minio.GetObjectOptions) (minio.ObjectInfo, error) {
	ctx, cancel := context.WithCancel(d.ctx)
	stall := time.AfterFunc(d.store.timing.stall, cancel)
	body, info, _, err := d.store.client.GetObject(ctx, d.store.bucket, d.store.prefix+d.key, opts)
	stall.Stop()
	if err != nil {
		if ctx.Err() != nil && d.ctx.Err() == nil {
			err = fmt.Errorf("no answer for %s", d.store.timing.stall)
		}
		cancel()
		return info, err
	}
	d.body, d.cancel, d.stall = body, cancel, stall
	return info, nil
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.offset == d.size {
			return 0, io.EOF
		}
		d.stall.Reset(d.store.timing.stall)
		n, err := d.body.Read(p)
		d.stall.Stop()
		d.offset += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		if err := d.resume(); err != nil {
			return 0, err
		}
	}
}

// resume asks for what is missing. A 412, or another ETag, means that the object was replaced meanwhile. A weak ETag,
// which never matches, is not sent.
func (d *download) resume() error {
	d.Close()
	return d.store.retry(d.ctx, d.key, func() error {
		var opts minio.GetObjectOptions
		if err := opts.SetRange(d.offset, d.size-1); err != nil {
			return err
		}
		if d.etag != "" && !strings.HasPrefix(d.etag, "W/") {
			if err := opts.SetMatchETag(d.etag); err != nil {
				return err
			}
		}
		info, err := d.request(opts)
		switch {
		case err != nil:
			return err
		case info.ETag != d.etag:
			err = ErrPreconditionFailed
		case info.Size != d.size-d.offset:
			err = fmt.Errorf("asked for %d bytes, got %d", d.size-d.offset, info.Size)
		default:
			return nil
		}
		d.Close()
		return err
	})
}

func (d *download) Close() error {
	d.cancel()
	d.stall.Stop()
	return d.body.Close()
}
