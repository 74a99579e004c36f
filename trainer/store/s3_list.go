package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// List asks for one page of a thousand objects after the other. A million objects take minutes: the patience is for each
// page, and after an error the listing goes on where it was.
func (s *s3Store) List(ctx context.Context, prefix string) (infos []Info, err error) {
	for done := false; !done && err == nil; {
		err = s.retry(ctx, prefix, func() error {
			before := len(infos)
			err := s.list(ctx, prefix, &infos)
			if done = err == nil; len(infos) > before && ctx.Err() == nil {
				return nil
			}
			return err
		})
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return infos, err
}

// list appends the objects after the last one of infos.
func (s *s3Store) list(ctx context.Context, prefix string, infos *[]Info) error {
	most := 2 * s.timing.stall
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(most, func() { cancel(fmt.Errorf("no answer for %s", most)) })
	defer silent.Stop()
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}
	if n := len(*infos); n > 0 {
		opts.StartAfter = s.prefix + (*infos)[n-1].Key
	}
	for o := range s.client.ListObjectsIter(ctx, s.bucket, opts) {
		if o.Err != nil && context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		if o.Err != nil {
			return o.Err
		}
		silent.Reset(most)
		*infos = append(*infos, Info{Key: strings.TrimPrefix(o.Key, s.prefix), Size: o.Size, Modified: o.LastModified})
	}
	return context.Cause(ctx) // the iterator may end without a word
}
