package store

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/internal/network"
)

// ErrCredentials: the storage refuses the credentials that it took before. This process has no others, so that there is
// no use in trying again; the pod of the next attempt reads the Secret anew. It comes with exit code 69.
var ErrCredentials = errors.New("the credentials are no longer valid")

// s3Code is the S3 error code of err, "" if the server did not send one.
func s3Code(err error) string {
	var r minio.ErrorResponse
	errors.As(err, &r)
	return r.Code
}

// plain replaces what a server says by its status and the code of S3: the endpoint may be any server that the trainer
// reaches, and errors come into the status of the job.
func plain(err error) error {
	var r minio.ErrorResponse
	if err == nil {
		return nil
	}
	var syntax *xml.SyntaxError
	var element xml.UnmarshalError
	switch {
	case strings.Contains(err.Error(), needsHTTPS):
		return errors.New("the server says: " + needsHTTPS)
	case errors.As(err, &syntax), errors.As(err, &element): // they quote it
		return errNoS3
	case !errors.As(err, &r):
		return network.Plain(err)
	}
	r.Message = strings.TrimSpace(fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode)))
	if !codePattern.MatchString(r.Code) {
		r.Code = "" // no code of S3
	} else if r.Code != "" {
		r.Message += " (" + r.Code + ")"
	}
	if !regionPattern.MatchString(r.Region) {
		r.Region = ""
	}
	r.Server, r.Resource, r.RequestID, r.HostID = "", "", "", ""
	return r
}

// needsHTTPS is what Go's servers say, MinIO among them.
const needsHTTPS = "Client sent an HTTP request to an HTTPS server"

var errNoS3 = errors.New("the server does not speak S3")

var (
	codePattern   = regexp.MustCompile(`^[A-Za-z.]{1,64}$`)
	regionPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
)

// transient reports whether the same call may succeed later.
func transient(err error) bool {
	var r minio.ErrorResponse
	switch {
	case !errors.As(err, &r):
		return connectionAdvice(err) == "" && !errors.Is(err, ErrPreconditionFailed)
	case r.StatusCode == http.StatusNotImplemented, slices.Contains(expiredCodes, r.Code):
		return false
	}
	return full(err) || r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout ||
		slices.Contains([]string{"ConditionalRequestConflict", "OperationAborted", "SlowDown", "RequestTimeout", "InternalError", "RequestTimeTooSkewed", "BadDigest", "XAmzContentChecksumMismatch"}, r.Code)
}

// full reports whether there is no room for an object, which somebody may make: MinIO says XMinioStorageFull and
// XMinioAdminBucketQuotaExceeded, Ceph QuotaExceeded.
func full(err error) bool {
	var r minio.ErrorResponse
	return errors.As(err, &r) && (r.StatusCode == http.StatusInsufficientStorage ||
		strings.HasSuffix(r.Code, "QuotaExceeded") || strings.HasSuffix(r.Code, "StorageFull"))
}

// trouble says what is the matter with a storage that is tried again.
func trouble(err error) string {
	switch {
	case full(err):
		return "has no room"
	case s3Code(err) != "":
		return "cannot answer now"
	}
	return "does not answer"
}

// Codes of refused credentials.
var (
	wrongCodes   = []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId", "InvalidToken", "InvalidSecurity"}
	expiredCodes = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
)

// explain turns an error that will not go away into one that says what to do.
func (s *s3Store) explain(key string, err error) error {
	var r minio.ErrorResponse
	errors.As(err, &r)
	switch {
	case r.Code == minio.NoSuchKey:
		return fmt.Errorf("%s: %w", s.URI(key), ErrNotFound)
	case r.Code == minio.PreconditionFailed, r.StatusCode == http.StatusPreconditionFailed, errors.Is(err, ErrPreconditionFailed):
		return fmt.Errorf("%s: %w", s.URI(key), ErrPreconditionFailed)
	case r.Code == minio.NoSuchBucket, r.Code == minio.InvalidBucketName:
		return exit.Errorf(contract.ExitConfig, "bucket %q does not exist at %s: create it or correct the URI", s.bucket, s.endpoint)
	case slices.Contains(wrongCodes, r.Code), slices.Contains(expiredCodes, r.Code):
		return s.explainCredentials(r.Code)
	case slices.Contains([]string{minio.AccessDenied, "AllAccessDisabled", "AccountProblem"}, r.Code):
		return s.explainDenied(key)
	case slices.Contains([]string{"AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException"}, r.Code):
		return exit.Errorf(contract.ExitConfig, "bucket %q is in another region%s: correct spec.storage.s3.region", s.bucket, regionHint(r.Region))
	case r.StatusCode == http.StatusNotImplemented:
		return exit.Errorf(contract.ExitConfig, "%s: %s does not implement what is asked of it: %w: use another S3 server", s.URI(key), s.endpoint, err)
	}
	if advice := connectionAdvice(err); advice != "" {
		return exit.Errorf(contract.ExitConfig, "%s: %w: %s", s.endpoint, err, advice)
	}
	return fmt.Errorf("%s: %w", s.URI(key), err)
}

// connectionAdvice says what to do if err, which is not of the server, will never go away; else it is "".
func connectionAdvice(err error) string {
	var refused *network.Refused
	if errors.As(err, &refused) {
		return "it is spec.storage.s3.endpoint"
	}
	if text := err.Error(); strings.Contains(text, "invalid header field value") { // see also checkEnvironment
		return "the credentials hold a character that cannot be right: correct those of ~/.aws/credentials or of the service account"
	}
	return tlsAdvice(err)
}

func (s *s3Store) explainCredentials(code string) error {
	const where = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, in a pod those of spec.storage.s3.credentialsSecret"
	switch {
	case s.rememberedCredentials():
		return exit.Errorf(contract.ExitStorage, "%s took the credentials before and refuses them now (%s): %w: correct %s, unless that is done", s.endpoint, code, ErrCredentials, where)
	case slices.Contains(expiredCodes, code):
		return exit.Errorf(contract.ExitConfig, "%s refuses the credentials: they have expired (%s): renew %s", s.endpoint, code, where)
	}
	return exit.Errorf(contract.ExitConfig, "%s refuses the credentials (%s): correct %s", s.endpoint, code, where)
}

// tookCredentials holds the servers, and the accounts at them, whose credentials this process used with success: the
// stores of one run share them.
var tookCredentials sync.Map

func (s *s3Store) rememberCredentials() {
	if creds, err := s.client.GetCreds(); err == nil && creds.AccessKeyID != "" {
		tookCredentials.Store([2]string{s.endpoint, creds.AccessKeyID}, true)
	}
}

func (s *s3Store) rememberedCredentials() bool {
	creds, err := s.client.GetCreds()
	_, ok := tookCredentials.Load([2]string{s.endpoint, creds.AccessKeyID})
	return err == nil && ok
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
