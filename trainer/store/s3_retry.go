package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// timing says how patient a store is.
type timing struct {
	// patience is how long an operation is repeated while the server does not answer.
	patience time.Duration
	// stall is how long one download may go without a byte before it is begun anew from there.
	stall time.Duration
}

var defaultTiming = timing{patience: 90 * time.Second, stall: 30 * time.Second}

type patienceKey struct{}

// WithPatience lets operations give up, with exit code 69, when the server was away for d, for callers that come again
// later.
func WithPatience(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// retry calls op until it succeeds, fails for good, or the patience is at its end.
func (s *s3Store) retry(ctx context.Context, key string, op func() error) error {
	start, patience := time.Now(), s.timing.patience
	if p, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		patience = min(patience, p)
	}
	for wait := time.Second / 10; ; wait = min(2*wait, 10*time.Second) {
		err := op()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", s.URI(key), ctx.Err())
		case !transient(err):
			return s.explain(key, err)
		case time.Since(start)+wait > patience:
			return exit.Errorf(contract.ExitStorage, "%s at %s could not be reached for %s: %w",
				s.URI(key), s.endpoint, time.Since(start).Round(time.Second), err)
		}
		slog.Warn("the storage does not answer; trying again", "object", s.URI(key), "endpoint", s.endpoint, "error", err,
			"retryIn", wait, "giveUpIn", (patience - time.Since(start)).Round(time.Second))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// s3Code is the S3 error code of err, "" if the server did not send one.
func s3Code(err error) string {
	var r minio.ErrorResponse
	errors.As(err, &r)
	return r.Code
}

// transient reports whether the same call may succeed later.
func transient(err error) bool {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return tlsAdvice(err) == "" && !errors.Is(err, ErrPreconditionFailed)
	}
	return r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout ||
		slices.Contains([]string{"ConditionalRequestConflict", "OperationAborted", "SlowDown", "RequestTimeout", "InternalError", "RequestTimeTooSkewed", "BadDigest", "XAmzContentChecksumMismatch"}, r.Code)
}

// explain turns an error that will not go away into one that says what to do.
func (s *s3Store) explain(key string, err error) error {
	var r minio.ErrorResponse
	errors.As(err, &r)
	switch r.Code {
	case minio.NoSuchKey:
		return fmt.Errorf("%s: %w", s.URI(key), ErrNotFound)
	case minio.PreconditionFailed:
		return fmt.Errorf("%s: %w", s.URI(key), ErrPreconditionFailed)
	case minio.NoSuchBucket, minio.InvalidBucketName:
		return exit.Errorf(contract.ExitConfig, "bucket %q does not exist at %s: create it or correct the URI", s.bucket, s.endpoint)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId", "InvalidToken":
		return exit.Errorf(contract.ExitConfig, "%s refuses the credentials (%s): correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in a pod those of spec.storage.s3.credentialsSecret", s.endpoint, r.Code)
	case minio.AccessDenied, "AllAccessDisabled", "AccountProblem":
		return s.explainDenied(key)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		return exit.Errorf(contract.ExitConfig, "bucket %q is in another region%s: correct spec.storage.s3.region", s.bucket, regionHint(r.Region))
	}
	switch {
	case errors.Is(err, ErrPreconditionFailed), r.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", s.URI(key), ErrPreconditionFailed)
	}
	if advice := tlsAdvice(err); advice != "" {
		return exit.Errorf(contract.ExitConfig, "%s: %w: %s", s.endpoint, err, advice)
	}
	return fmt.Errorf("%s: %w", s.URI(key), err)
}

func (s *s3Store) explainDenied(key string) error {
	creds, err := s.client.GetCreds()
	if err != nil || creds.AccessKeyID == "" {
		return exit.Errorf(contract.ExitConfig, "%s: %s wants credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in a pod spec.storage.s3.credentialsSecret", s.URI(key), s.endpoint)
	}
	return exit.Errorf(contract.ExitConfig, "%s: access denied: the account needs s3:ListBucket on the bucket and s3:GetObject, s3:PutObject and s3:DeleteObject on its objects", s.URI(key))
}

func regionHint(region string) string {
	if region == "" {
		return ""
	}
	return " (" + region + ")"
}
