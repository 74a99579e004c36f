package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// webDownload reads a file. When the connection breaks or stalls it asks for the rest, of the same version.
type webDownload struct {
	ctx    context.Context
	web    *web
	key    string
	offset int64
	// version names the content: the server's ETag or date.
	version string

	body   io.ReadCloser
	cancel context.CancelCauseFunc
	silent *time.Timer // cancels the request; runs only while we wait for the server
}

var errChanged = errors.New("the file changed while it was read: start again")

// request asks for the file from offset on.
func (d *webDownload) request() (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(d.ctx)
	silent := time.AfterFunc(d.web.stall, func() { cancel(errStalled) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.web.url(d.key).String(), nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if d.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		if d.version != "" {
			req.Header.Set("If-Range", d.version)
		}
	}
	resp, err := d.web.client.Do(req)
	silent.Stop()
	if err == nil && resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		err = statusError(resp.StatusCode)
	}
	if err != nil {
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		cancel(nil)
		return nil, err
	}
	d.body, d.cancel, d.silent = resp.Body, cancel, silent
	return resp, d.reach(resp)
}

// reach skips what was read already if the server sends the file from its start.
func (d *webDownload) reach(resp *http.Response) error {
	version := resp.Header.Get("ETag")
	if version == "" {
		version = resp.Header.Get("Last-Modified")
	}
	if d.offset == 0 {
		d.version = version
		return nil
	}
	if version != d.version {
		d.drop()
		return errChanged
	}
	if resp.StatusCode == http.StatusOK {
		d.silent.Reset(d.web.stall)
		_, err := io.CopyN(io.Discard, d.body, d.offset)
		d.silent.Stop()
		if err != nil {
			d.drop()
			return err
		}
	}
	return nil
}

func (d *webDownload) drop() {
	if d.body != nil {
		d.cancel(nil)
		d.body.Close()
		d.body = nil
	}
}

func (d *webDownload) Close() error {
	d.drop()
	return nil
}

func (d *webDownload) Read(p []byte) (n int, err error) {
	done := false
	err = d.web.retry(d.ctx, d.key, func() error {
		if d.body == nil {
			if _, err := d.request(); err != nil {
				return err
			}
		}
		d.silent.Reset(d.web.stall)
		n, err = d.body.Read(p)
		d.silent.Stop()
		d.offset += int64(n)
		if done = err == io.EOF; done || n > 0 {
			return nil
		}
		if err != nil {
			d.drop()
			return err
		}
		return nil
	})
	if err == nil && done {
		err = io.EOF
	}
	return n, err
}
