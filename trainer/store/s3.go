package store

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

const (
	// shortCall is the deadline of one request that moves little data.
	shortCall = 30 * time.Second
	// slowestUpload is the rate in bytes a second that the deadline of an upload allows for.
	slowestUpload = 1 << 20
	// largestPut is the size up to which an object goes up in one request: one that breaks off leaves nothing behind,
	// where an upload in parts leaves parts that nobody lists. S3 allows 5 GiB.
	largestPut = 5 << 30
)

// s3Store is a bucket and a prefix on an S3 server.
type s3Store struct {
	client   minio.Core
	endpoint string
	bucket   string
	prefix   string // "" or ends in a slash
	timing   timing
	// plainUploads are those whose checksum stands in the header: probe found that the server takes no others.
	plainUploads bool
}

func openS3(bucket, prefix string, spec v1.S3Spec, access Access) (Store, error) {
	u, err := parseEndpoint(spec)
	if err != nil {
		return nil, err
	}
	secure := u.Scheme == "https"
	transport, err := transport(secure, spec.CABundle, access.Dial)
	if err != nil {
		return nil, err
	}
	chain, err := access.Account.credentials(spec)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:           chain,
		Secure:          secure,
		Region:          spec.Region,
		Transport:       transport,
		TrailingHeaders: true, // for checksums
		MaxRetries:      1,    // its own second try of an upload sends the checksum of both; see retry
	})
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "spec.storage.s3.endpoint: %w", err)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &s3Store{client: minio.Core{Client: client}, endpoint: u.Scheme + "://" + u.Host, bucket: bucket, prefix: prefix,
		timing: defaultTiming}, nil
}

func parseEndpoint(spec v1.S3Spec) (*url.URL, error) {
	endpoint := spec.Endpoint
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com" // minio-go goes to the region's own host
	}
	u, err := url.Parse(endpoint)
	switch {
	case err == nil && u.User != nil:
		return nil, exit.Errorf(contract.ExitConfig, "spec.storage.s3.endpoint: must not hold an account: use spec.storage.s3.credentialsSecret or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || wrongCharacter(endpoint) != "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, exit.Errorf(contract.ExitConfig, "spec.storage.s3.endpoint: must be http://host:port or https://host:port, and nothing else")
	}
	if what := wrongCharacter(spec.Region); what != "" {
		return nil, exit.Errorf(contract.ExitConfig, "spec.storage.s3.region: %q %s: it is a name such as us-east-1", spec.Region, what)
	}
	return u, nil
}

func (s *s3Store) URI(key string) string { return "s3://" + s.bucket + "/" + s.prefix + key }

func (s *s3Store) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) (etag string, err error) {
	deadline := shortCall + time.Duration(size/slowestUpload)*time.Second
	err = s.retry(ctx, key, func() error {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
		etag, err = s.put(ctx, key, r, size, deadline, minio.PutObjectOptions{DisableMultipart: size <= largestPut})
		return err
	})
	return etag, err
}

func (s *s3Store) PutIf(ctx context.Context, key string, data []byte, ifMatch string) (etag string, err error) {
	// minio-go drops the condition from multipart uploads: only a single PUT is atomic.
	opts := minio.PutObjectOptions{DisableMultipart: true}
	if ifMatch == "" {
		opts.SetMatchETagExcept("*")
	} else {
		opts.SetMatchETag(ifMatch)
	}
	err = s.retry(ctx, key, func() error {
		etag, err = s.put(ctx, key, bytes.NewReader(data), int64(len(data)), shortCall, opts)
		if ifMatch != "" && s3Code(err) == minio.NoSuchKey {
			return ErrPreconditionFailed // the object is gone, so it is not the one that was named
		}
		return err
	})
	return etag, err
}

// put does one upload. The server checks the content against the checksum that follows it.
func (s *s3Store) put(ctx context.Context, key string, r io.ReadSeeker, size int64, deadline time.Duration, opts minio.PutObjectOptions) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if s.plainUploads {
		return s.putPlain(ctx, key, r, size, opts)
	}
	opts.Checksum = minio.ChecksumCRC64NVME
	info, err := s.client.Client.PutObject(ctx, s.bucket, s.prefix+key, r, size, opts)
	return info.ETag, err
}

// putPlain does one upload whose checksums stand in its header: all that the first S3 servers knew.
func (s *s3Store) putPlain(ctx context.Context, key string, r io.ReadSeeker, size int64, opts minio.PutObjectOptions) (string, error) {
	sha, sum := sha256.New(), md5.New() // minio-go leaves out the checksum behind the content only if there is an MD5
	if _, err := io.Copy(io.MultiWriter(sha, sum), r); err != nil {
		return "", err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	opts.DisableContentSha256 = true // of chunks
	info, err := s.client.PutObject(ctx, s.bucket, s.prefix+key, r, size, base64.StdEncoding.EncodeToString(sum.Sum(nil)),
		hex.EncodeToString(sha.Sum(nil)), opts)
	return info.ETag, err
}

func (s *s3Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		err := s.retry(ctx, key, func() error {
			ctx, cancel := context.WithTimeout(ctx, shortCall)
			defer cancel()
			return s.client.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
