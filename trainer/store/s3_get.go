package store

import (
	"context"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/resnet-operator/resnet-operator/trainer/internal/download"
)

func (s *s3Store) Get(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	var first *Info // what the first answer says of the object
	r, err := download.Open(ctx, download.Source{
		Request: func(ctx context.Context, offset int64) (download.Answer, error) {
			body, info, err := s.get(ctx, key, offset, first)
			if err != nil {
				return download.Answer{}, err
			}
			if first == nil {
				first = &info
			}
			return download.Answer{Body: body, From: offset, Size: info.Size}, nil
		},
		Retry: func(op func() error) error { return s.retry(ctx, key, op) },
		Stall: s.timing.stall,
	})
	if err != nil {
		return nil, Info{}, err
	}
	return r, *first, nil
}

// get asks for an object from offset on, of the version of the first answer, if there was one. A 412, or another ETag, means
// that the object was replaced meanwhile. A weak ETag, which never matches, is not sent.
func (s *s3Store) get(ctx context.Context, key string, offset int64, first *Info) (io.ReadCloser, Info, error) {
	var opts minio.GetObjectOptions
	if offset > 0 {
		if err := opts.SetRange(offset, 0); err != nil { // to the end
			return nil, Info{}, err
		}
	}
	if first != nil && first.ETag != "" && !strings.HasPrefix(first.ETag, "W/") {
		if err := opts.SetMatchETag(first.ETag); err != nil {
			return nil, Info{}, err
		}
	}
	body, object, _, err := s.client.GetObject(ctx, s.bucket, s.prefix+key, opts)
	if err != nil {
		return nil, Info{}, err
	}
	if first != nil && object.ETag != first.ETag {
		body.Close()
		return nil, Info{}, ErrPreconditionFailed
	}
	info := Info{Key: key, Size: object.Size, ETag: object.ETag, Modified: object.LastModified}
	if info.Size >= 0 { // of the rest, so far
		info.Size += offset
	}
	return body, info, nil
}
