package store

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

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
}

func openS3(bucket, prefix string, spec v1.S3Spec) (Store, error) {
	endpoint := spec.Endpoint
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com" // minio-go goes to the region's own host
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, exit.Errorf(contract.ExitConfig, "spec.storage.s3.endpoint: must be http://host:port or https://host:port")
	case u.User != nil:
		return nil, exit.Errorf(contract.ExitConfig, "spec.storage.s3.endpoint: must not hold an account: use spec.storage.s3.credentialsSecret or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	secure := u.Scheme == "https"
	transport, err := transport(secure, spec.CABundle)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:           credentialChain(spec),
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
	return &s3Store{minio.Core{Client: client}, u.Scheme + "://" + u.Host, bucket, prefix, defaultTiming}, nil
}

// credentialChain looks at the environment, ~/.aws/credentials, and then asks the cloud (IRSA, ECS, EC2). The EC2
// metadata service is left out for servers other than AWS: without an answer it would hold up every request.
func credentialChain(spec v1.S3Spec) *credentials.Credentials {
	chain := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	asksCloud := func(name string) bool { return os.Getenv(name) != "" }
	if spec.Endpoint == "" || slices.ContainsFunc([]string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	}, asksCloud) {
		chain = append(chain, &credentials.IAM{Region: spec.Region, Client: &http.Client{Timeout: 5 * time.Second}})
	}
	return credentials.NewChainCredentials(chain)
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
func (s *s3Store) put(ctx context.Context, key string, r io.Reader, size int64, deadline time.Duration, opts minio.PutObjectOptions) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	opts.Checksum = minio.ChecksumCRC64NVME
	info, err := s.client.Client.PutObject(ctx, s.bucket, s.prefix+key, r, size, opts)
	return info.ETag, err
}

func (s *s3Store) List(ctx context.Context, prefix string) (infos []Info, err error) {
	err = s.retry(ctx, prefix, func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*shortCall)
		defer cancel()
		infos = nil
		opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}
		for o := range s.client.ListObjectsIter(ctx, s.bucket, opts) {
			if o.Err != nil {
				return o.Err
			}
			key := strings.TrimPrefix(o.Key, s.prefix)
			infos = append(infos, Info{Key: key, Size: o.Size, Modified: o.LastModified})
		}
		return ctx.Err() // the iterator may end without a word
	})
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return infos, err
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
