package data

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/internal/download"
	"github.com/resnet-operator/resnet-operator/trainer/internal/network"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// web reads files from an HTTP server, as package store reads objects from a bucket: with the same patience, and the
// same exit codes. What comes after ? in the URI may be a secret: it is sent, and never shown.
type web struct {
	base     *url.URL
	client   *http.Client
	patience time.Duration // how long one operation is repeated while the server does not answer
	stall    time.Duration // how long the server may be silent
}

func newWeb(u *url.URL) (*web, error) {
	if u.User != nil {
		return nil, exit.Errorf(contract.ExitConfig, "must not hold an account: use a signed URL or a bucket")
	}
	if u.Host == "" {
		return nil, exit.Errorf(contract.ExitConfig, "must be https://host/path")
	}
	w := &web{base: u, patience: 90 * time.Second, stall: 30 * time.Second}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = network.DialContext(10 * time.Second)
	transport.DisableCompression = true // sizes and sums are those of the file as it is
	w.client = &http.Client{Transport: transport, CheckRedirect: network.CheckRedirect}
	return w, nil
}

// url of a file. If the URI names an archive this is the only one.
func (w *web) url(key string) *url.URL {
	u := *w.base
	if !isArchive(u.Path) && key != "" {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/" + key
		u.RawPath = ""
	}
	return &u
}

func (w *web) URI(key string) string {
	return uri.Public(w.url(key).String())
}

// Get opens a file. Broken and stalled downloads are resumed behind the reader.
func (w *web) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	info := store.Info{Key: key}
	version := ""
	r, err := download.Open(ctx, download.Source{
		Request: func(ctx context.Context, offset int64) (download.Answer, error) {
			return w.request(ctx, &info, &version, offset)
		},
		Retry: func(op func() error) error { return w.retry(ctx, key, op) },
		Stall: w.stall,
	})
	if err != nil {
		return nil, info, err
	}
	return r, info, nil
}

var errChanged = errors.New("the file changed while it was read: start again")

// request asks for a file; from an offset on, for the same version of it: the server's ETag or date.
func (w *web) request(ctx context.Context, info *store.Info, version *string, offset int64) (a download.Answer, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url(info.Key).String(), nil)
	if err != nil {
		return a, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		if *version != "" {
			req.Header.Set("If-Range", *version)
		}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return a, err
	}
	a = download.Answer{Body: resp.Body, Size: resp.ContentLength}
	switch {
	case resp.StatusCode == http.StatusPartialContent && offset > 0:
		if a.From = offset; a.Size >= 0 {
			a.Size += offset
		}
	case resp.StatusCode != http.StatusOK:
		resp.Body.Close()
		return a, statusError(resp.StatusCode)
	}
	is := cmp.Or(resp.Header.Get("ETag"), resp.Header.Get("Last-Modified"))
	if offset > 0 && is != *version {
		resp.Body.Close()
		return a, errChanged
	}
	if offset == 0 {
		*version, info.Size, info.ETag = is, resp.ContentLength, resp.Header.Get("ETag")
		info.Modified, _ = http.ParseTime(resp.Header.Get("Last-Modified"))
	}
	return a, nil
}

// retry calls op until it succeeds, fails for good, or the patience is at its end.
func (w *web) retry(ctx context.Context, key string, op func() error) error {
	start := time.Now()
	var waited func()
	for wait := w.patience / 180; ; wait = min(2*wait, w.patience/9) {
		err := op()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", w.URI(key), ctx.Err())
		case !passing(err):
			return w.explain(key, err)
		case time.Since(start)+wait > w.patience:
			return exit.Errorf(contract.ExitStorage, "%s could not be read for %s: %w", w.URI(key), time.Since(start).Round(time.Second), bare(err))
		}
		if waited == nil && time.Since(start) > 2*time.Second {
			waited = telemetry.Wait(ctx, start, fmt.Sprintf("%s, which does not answer: %v", w.URI(key), bare(err)))
			defer waited()
		}
		telemetry.Log(ctx).Warn("the web server does not answer; trying again", "file", w.URI(key), "error", bare(err), "retryIn", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// statusError is an answer other than success.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("the server answers %d %s", int(e), http.StatusText(int(e)))
}

// bare is the reason without the URL, which may hold a secret, and without what the server says.
func bare(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	if badRedirect(err) { // the text says to what
		return errors.New("redirects to an address that is none")
	}
	return network.Plain(u.Err)
}

// passing reports whether the same request may succeed later.
func passing(err error) bool {
	var status statusError
	if errors.As(err, &status) {
		return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
	}
	var refused *network.Refused
	return !badCertificate(err) && !badRedirect(err) && !errors.Is(err, network.ErrRedirects) && !errors.Is(err, errChanged) && !errors.As(err, &refused)
}

func badCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &record) ||
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

func badRedirect(err error) bool { return strings.Contains(err.Error(), "Location header") }

// explain turns an error that will not go away into one that says what to do.
func (w *web) explain(key string, err error) error {
	var status statusError
	var refused *network.Refused
	errors.As(err, &status)
	switch {
	case errors.As(err, &refused):
		return exit.Errorf(contract.ExitConfig, "%s: %w", w.URI(key), refused)
	case status == http.StatusNotFound, status == http.StatusGone:
		return fmt.Errorf("%s: %w", w.URI(key), store.ErrNotFound)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return exit.Errorf(contract.ExitConfig, "%s: %w: make the file public, use a signed URL, or put it into a bucket", w.URI(key), err)
	case badCertificate(err):
		return exit.Errorf(contract.ExitConfig, "%s: %w: correct http or https, or trust its certificate with SSL_CERT_FILE", w.URI(key), bare(err))
	case errors.Is(err, network.ErrRedirects):
		return exit.Errorf(contract.ExitData, "%s: is redirected in a circle: correct the URI", w.URI(key))
	}
	if errors.Is(err, errChanged) {
		return exit.Errorf(contract.ExitStorage, "%s: %w", w.URI(key), err)
	}
	return exit.Errorf(contract.ExitData, "%s: %w", w.URI(key), bare(err))
}
