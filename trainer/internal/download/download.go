// Package download reads files from servers that are away now and then.
package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Source is where a file comes from.
type Source struct {
	// Request asks for the file from offset on. If offset is not 0 it must be the same version as the first time.
	Request func(ctx context.Context, offset int64) (Answer, error)
	// Retry calls op until it succeeds or there is no hope.
	Retry func(op func() error) error
	// Stall is how long the server may be silent.
	Stall time.Duration
}

// Answer is the file, or a part of it.
type Answer struct {
	Body io.ReadCloser
	// From is the offset at which Body begins: 0 if the server sends the file anew.
	From int64
	// Size of the whole file; -1 if the server does not say.
	Size int64
}

// errSilent is why a request was cancelled.
var errSilent = errors.New("the server is silent")

// Reader reads a file. When the connection breaks or stalls it asks for the rest.
type Reader struct {
	Source
	ctx          context.Context
	offset, size int64

	body   io.ReadCloser // nil: not connected
	silent *time.Timer   // cancels the request; runs only while we wait for the server
	cancel context.CancelCauseFunc
	cause  func() error // why the request was cancelled
}

// Open makes the first request.
func Open(ctx context.Context, source Source) (*Reader, error) {
	r := &Reader{Source: source, ctx: ctx}
	return r, r.Retry(r.first)
}

// Size of the file; -1 if the server does not say.
func (r *Reader) Size() int64 { return r.size }

func (r *Reader) first() error {
	size, err := r.connect()
	r.size = size
	return err
}

// connect makes a request, and reads up to where we are if the server sends the file from its beginning.
func (r *Reader) connect() (size int64, err error) {
	ctx, cancel := context.WithCancelCause(r.ctx)
	r.cancel, r.cause = cancel, func() error { return context.Cause(ctx) }
	r.silent = time.AfterFunc(r.Stall, func() { cancel(errSilent) })
	answer, err := r.Request(ctx, r.offset)
	r.silent.Stop()
	if err != nil {
		err = r.reason(err)
		cancel(nil)
		return 0, err
	}
	r.body = answer.Body
	if skip := r.offset - answer.From; skip > 0 {
		if _, err := io.CopyN(io.Discard, readerFunc(r.read), skip); err != nil {
			r.drop()
			return 0, err
		}
	}
	return answer.Size, nil
}

// reason is that the server is silent, if we cancelled the request since it was.
func (r *Reader) reason(err error) error {
	if r.cause() == errSilent {
		return fmt.Errorf("no answer for %s", r.Stall)
	}
	return err
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// read reads from the connection.
func (r *Reader) read(p []byte) (int, error) {
	r.silent.Reset(r.Stall)
	n, err := r.body.Read(p)
	r.silent.Stop()
	if err != nil && err != io.EOF {
		err = r.reason(err)
	}
	return n, err
}

// reconnect asks for the rest.
func (r *Reader) reconnect() error {
	size, err := r.connect()
	if err == nil && size != r.size && size >= 0 && r.size >= 0 {
		r.drop()
		err = fmt.Errorf("the file has %d bytes now, not %d", size, r.size)
	}
	return err
}

// Read reads on, over as many connections as it takes.
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.offset == r.size {
		return 0, io.EOF
	}
	done := false
	err = r.Retry(func() error {
		if r.body == nil {
			if err := r.reconnect(); err != nil {
				return err
			}
		}
		var err error
		n, err = r.read(p)
		r.offset += int64(n)
		if err == io.EOF && r.size >= 0 && r.offset != r.size {
			err = io.ErrUnexpectedEOF
		}
		if done = err == io.EOF; done || n > 0 || err == nil {
			return nil
		}
		r.drop()
		return err
	})
	if err == nil && done {
		err = io.EOF
	}
	return n, err
}

func (r *Reader) drop() {
	if r.body != nil {
		r.cancel(nil)
		r.body.Close()
		r.body = nil
	}
}

// Close ends the connection.
func (r *Reader) Close() error {
	r.drop()
	return nil
}
