package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// Probe finds out, with an object that it writes, reads and deletes, whether the server of a store can do what package
// checkpoint rests on. If the server takes no checksums behind the content, uploads from now on send theirs before it. A
// folder can; there it removes what crashes left half-written. Nobody may use the store at the same time; others of the same place may be in use.
//
// Errors: exit code 64 if the server lacks something that there is no way around, and those of Store.
func Probe(ctx context.Context, s Store) error {
	folder := ""
	for {
		switch t := s.(type) {
		case *sub:
			s, folder = t.Store, t.prefix+folder
		case *s3Store:
			p := &probe{store: t, folder: folder + probeFolder}
			defer p.remove(ctx)
			return p.run(ctx)
		case *dir:
			t.sweep()
			return nil
		default:
			return nil
		}
	}
}

// probe is an object under a name that nobody else uses.
type probe struct {
	store  *s3Store
	folder string
	key    string
	used   []string // keys to delete
}

// probeFolder is where such objects are, in the folder of the job.
const probeFolder = ".probe/"

// Contents of the object, of the same length.
const (
	probeFirst  = "first: written by resnet-operator to try the storage; may be deleted\n"
	probeSecond = "other: written by resnet-operator to try the storage; may be deleted\n"
)

// errAltered: the server returns another content than was written.
var errAltered = errors.New("it returns another content than was written")

func (p *probe) run(ctx context.Context) error {
	etag, err := p.create(ctx)
	if err != nil && exit.Code(err) != contract.ExitStorage && ctx.Err() == nil {
		why := err
		p.store.plainUploads = true
		if etag, err = p.create(ctx); err == nil {
			telemetry.Log(ctx).Warn("the S3 server takes no checksums behind the content: uploads send theirs before it",
				"endpoint", p.store.endpoint, "error", answer(why))
		}
	}
	switch {
	case err == nil:
		return p.conditions(ctx, etag)
	case errors.Is(err, errAltered):
		return exit.Errorf(contract.ExitConfig, "%s: %w", p.store.endpoint, err)
	case errors.Is(err, ErrPreconditionFailed):
		return p.lacks("refuses If-None-Match: * for an object that does not exist")
	case exit.Code(err) != contract.ExitStorage && ctx.Err() == nil && WriteAll(ctx, p.store, p.key, []byte(probeFirst)) == nil:
		return p.lacks(fmt.Sprintf("takes no PUT with If-None-Match (%v)", answer(err)))
	}
	return err
}

// create writes the object under a new name, on condition that there is none, and reads it back.
func (p *probe) create(ctx context.Context) (etag string, err error) {
	p.key = p.folder + rand.Text()
	p.used = append(p.used, p.key)
	_, err = p.store.PutIf(ctx, p.key, []byte(probeFirst), "")
	if err != nil && !errors.Is(err, ErrPreconditionFailed) {
		return "", err
	}
	content, etag, readErr := p.read(ctx) // it may be our own write whose answer was lost
	switch {
	case err != nil && errors.Is(readErr, ErrNotFound):
		return "", err
	case readErr != nil:
		return "", readErr
	case content != probeFirst:
		return "", errAltered
	}
	return etag, nil
}

// conditions checks that the server writes on the conditions that it should, and on no others.
func (p *probe) conditions(ctx context.Context, etag string) error {
	switch {
	case etag == "":
		return p.lacks("sends no ETag")
	case strings.HasPrefix(etag, "W/"):
		return p.lacks(fmt.Sprintf("sends weak ETags (%s); a proxy before it may be what weakens them", etag))
	}
	if took, err := p.took(ctx, "", probeSecond); err != nil || took {
		return cmp.Or(err, p.lacks("ignores If-None-Match: it overwrites an object that exists"))
	}
	if took, err := p.took(ctx, etag, probeSecond); err != nil || !took {
		return cmp.Or(err, p.lacks(fmt.Sprintf("refuses If-Match with the ETag (%s) that it sent itself; a proxy before it may change them", etag)))
	}
	switch content, now, err := p.read(ctx); {
	case err != nil:
		return err
	case content != probeSecond:
		return p.lacks("returns an old content; a cache before it must not keep objects")
	case now == etag:
		return p.lacks("gives two contents the same ETag")
	}
	if took, err := p.took(ctx, etag, probeFirst); err != nil || took {
		return cmp.Or(err, p.lacks("ignores If-Match: it overwrites an object that was changed"))
	}
	return nil
}

// took overwrites the object on a condition, and reports whether the server did so.
func (p *probe) took(ctx context.Context, ifMatch, content string) (bool, error) {
	_, err := p.store.PutIf(ctx, p.key, []byte(content), ifMatch)
	switch {
	case err == nil:
		return true, nil
	case exit.Code(err) == contract.ExitStorage || ctx.Err() != nil:
		return false, err
	case !errors.Is(err, ErrPreconditionFailed):
		return false, p.lacks(fmt.Sprintf("does not overwrite objects on a condition (%v)", answer(err)))
	}
	now, _, err := p.read(ctx) // it may be our own write whose answer was lost
	return err == nil && now == content, err
}

func (p *probe) read(ctx context.Context) (content, etag string, err error) {
	data, info, err := ReadAll(ctx, p.store, p.key)
	return string(data), info.ETag, err
}

// lacks says what the server cannot do.
func (p *probe) lacks(what string) error {
	return exit.Errorf(contract.ExitConfig, "the S3 server at %s %s: without conditional writes a second attempt at the job could overwrite the checkpoints of the first unnoticed: use a server that has them, as AWS, MinIO and versitygw do, or a file:// folder",
		p.store.endpoint, what)
}

// answer is what the server itself said, without what explain made of it.
func answer(err error) error {
	var r minio.ErrorResponse
	if errors.As(err, &r) {
		return r
	}
	return err
}

// remove deletes the object. An account without the right to delete leaves it: package checkpoint tells.
func (p *probe) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	p.store.Delete(WithPatience(ctx, time.Second), p.used...)
}
