// Package store reads and writes the objects of a bucket or of a folder, with one meaning for both.
//
// An object is written whole or not at all, and is durable once a call returned. PutIf is the one operation on which
// the commit protocol of package checkpoint rests: of several concurrent writers that name the same ETag, one wins.
//
// Errors are ErrNotFound, ErrPreconditionFailed, or carry an exit code of package exit: 64 where a person must act
// (no such bucket, wrong credentials, no permission, a server without conditional writes), 69 where the storage could not
// be reached, or had no room, for about 90 seconds, and at once where it refuses credentials that it took before. None
// holds a secret.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	public "github.com/resnet-operator/resnet-operator/trainer/uri"
)

var (
	// ErrNotFound: there is no object of this key.
	ErrNotFound = errors.New("not found")
	// ErrPreconditionFailed: the object is not, or no longer, the one that PutIf named. After a lost response it can
	// mean that the caller's own write had succeeded: read it and compare.
	ErrPreconditionFailed = errors.New("changed by another writer")
)

// Info describes an object.
type Info struct {
	// Key is relative to the URI that the store was opened with.
	Key string
	// Size in bytes.
	Size int64
	// ETag names this content of the object, opaquely. Only Get sets it.
	ETag string
	// Modified is when the object was written, by the storage's clock.
	Modified time.Time
}

// Store is a bucket and prefix, or a folder. Keys are slash-separated and relative to the URI it was opened with; an
// element that begins with a dot is reserved. It is safe for concurrent use.
type Store interface {
	// Get opens an object. Broken and stalled downloads are resumed behind the reader.
	Get(ctx context.Context, key string) (io.ReadCloser, Info, error)
	// Put writes size bytes from r, replacing what was there, and returns the ETag. On retries r is read again.
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64) (etag string, err error)
	// PutIf writes a small object if the present one has the ETag ifMatch; "" means: if there is none.
	PutIf(ctx context.Context, key string, data []byte, ifMatch string) (etag string, err error)
	// List returns the objects whose key begins with prefix, sorted by key.
	List(ctx context.Context, prefix string) ([]Info, error)
	// Delete removes objects; missing ones are no error.
	Delete(ctx context.Context, keys ...string) error
	// URI of an object, for people.
	URI(key string) string
}

// Access is how an S3 server is reached by others than the pods of a job. The zero value is the way of the pods.
type Access struct {
	// Dial connects to the server in place of the network, past any proxy.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Account in place of that of the environment, if its AccessKeyID is set.
	Account Account
}

// Account on an S3 server.
type Account struct{ AccessKeyID, SecretAccessKey, SessionToken string }

// Open returns the store at s3://bucket/prefix or file:///folder. It does not reach out yet. s3 may be nil: AWS.
func Open(_ context.Context, uri string, s3 *v1.S3Spec) (Store, error) {
	return OpenBy(uri, s3, Access{})
}

// OpenBy is Open with another way to the server.
func OpenBy(uri string, s3 *v1.S3Spec, access Access) (Store, error) {
	scheme, rest, _ := strings.Cut(uri, "://")
	switch {
	case strings.ContainsFunc(uri, unicode.IsControl):
		return nil, exit.Errorf(contract.ExitConfig, "%q holds a control character, perhaps a newline: take it out", uri)
	case scheme == "s3" && rest != "":
		bucket, prefix, _ := strings.Cut(rest, "/")
		if err := checkPrefix(uri, prefix); err != nil {
			return nil, err
		}
		if s3 == nil {
			s3 = &v1.S3Spec{}
		}
		return openS3(bucket, prefix, *s3, access)
	case scheme == "file" && strings.HasPrefix(rest, "/"):
		return newDir(rest), nil
	default:
		return nil, exit.Errorf(contract.ExitConfig, "%q must be s3://bucket/prefix or file:///folder", public.Public(uri))
	}
}

// checkPrefix refuses paths in a bucket that some servers refuse and others take for another path.
func checkPrefix(uri, prefix string) error {
	for element := range strings.SplitSeq(strings.Trim(prefix, "/"), "/") {
		switch {
		case element == "" && strings.Trim(prefix, "/") != "":
			return exit.Errorf(contract.ExitConfig, "%q has an empty name in its path: write // as /", uri)
		case element == ".", element == "..":
			return exit.Errorf(contract.ExitConfig, "%q has %q in its path: write the path without it", uri, element)
		}
	}
	return nil
}

// Sub returns the part of s below prefix.
func Sub(s Store, prefix string) Store {
	if prefix = strings.Trim(path.Clean(prefix), "/"); prefix == "." || prefix == "" {
		return s
	}
	return &sub{s, prefix + "/"}
}

type sub struct {
	Store
	prefix string
}

func (s *sub) Get(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	r, info, err := s.Store.Get(ctx, s.prefix+key)
	info.Key = key
	return r, info, err
}

func (s *sub) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) (string, error) {
	return s.Store.Put(ctx, s.prefix+key, r, size)
}

func (s *sub) PutIf(ctx context.Context, key string, data []byte, ifMatch string) (string, error) {
	return s.Store.PutIf(ctx, s.prefix+key, data, ifMatch)
}

func (s *sub) List(ctx context.Context, prefix string) ([]Info, error) {
	infos, err := s.Store.List(ctx, s.prefix+prefix)
	for i := range infos {
		infos[i].Key = strings.TrimPrefix(infos[i].Key, s.prefix)
	}
	return infos, err
}

func (s *sub) Delete(ctx context.Context, keys ...string) error {
	full := make([]string, len(keys))
	for i, k := range keys {
		full[i] = s.prefix + k
	}
	return s.Store.Delete(ctx, full...)
}

func (s *sub) URI(key string) string { return s.Store.URI(s.prefix + key) }

// FieldError names the field of the spec that an error of the job's own store belongs to; nil stays nil.
func FieldError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("spec.storage.uri: %w", err)
}

// ReadAll reads a whole object into memory.
func ReadAll(ctx context.Context, s Store, key string) ([]byte, Info, error) {
	r, info, err := s.Get(ctx, key)
	if err != nil {
		return nil, info, err
	}
	defer r.Close()
	var b bytes.Buffer // the size is what the server says: nothing, or nonsense
	b.Grow(int(min(max(info.Size, 0), 64<<20)) + bytes.MinRead)
	n, err := b.ReadFrom(r)
	if err == nil && info.Size >= 0 && n != info.Size {
		err = io.ErrUnexpectedEOF
	}
	info.Size = n
	return b.Bytes(), info, err
}

// ReadFile reads the object or file that a URI names. Errors: ErrNotFound if there is none, as where the URI names a
// folder, and those of Open and Get.
func ReadFile(ctx context.Context, uri string, s3 *v1.S3Spec) ([]byte, error) {
	if _, err := Open(ctx, uri, s3); err != nil {
		return nil, err
	}
	folder := uri[:strings.LastIndexByte(uri, '/')+1]
	if strings.HasSuffix(folder, "://") || folder == uri { // a bucket, or surely a folder
		return nil, fmt.Errorf("%s: %w", uri, ErrNotFound)
	}
	st, err := Open(ctx, folder, s3)
	if err != nil {
		return nil, err
	}
	data, _, err := ReadAll(ctx, st, path.Base(uri))
	return data, err
}

// WriteAll writes a whole object from memory.
func WriteAll(ctx context.Context, s Store, key string, data []byte) error {
	_, err := s.Put(ctx, key, bytes.NewReader(data), int64(len(data)))
	return err
}
