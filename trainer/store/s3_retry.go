package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
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

// shortTrouble is how long nobody need be told that the server does not answer.
const shortTrouble = 2 * time.Second

// retry calls op until it succeeds, fails for good, or the patience is at its end.
func (s *s3Store) retry(ctx context.Context, key string, op func() error) error {
	start, patience := time.Now(), s.timing.patience
	if p, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		patience = min(patience, p)
	}
	var waited func()
	for wait := time.Second / 10; ; wait = min(2*wait, 10*time.Second) {
		err := plain(op())
		if s.answered(err) {
			s.rememberCredentials()
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", s.URI(key), ctx.Err())
		case !transient(err):
			return s.explain(key, err)
		case time.Since(start)+wait > patience:
			return s.giveUp(key, err, time.Since(start))
		}
		if waited == nil && time.Since(start) > shortTrouble {
			waited = telemetry.Wait(ctx, start, fmt.Sprintf("%s at %s, which %s: %v", s.place(key), s.endpoint, trouble(err), err))
			defer waited()
		}
		telemetry.Log(ctx).Warn("the storage "+trouble(err)+"; trying again", "object", s.URI(key), "endpoint", s.endpoint,
			"error", err, "retryIn", wait, "giveUpIn", (patience - time.Since(start)).Round(time.Second))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// giveUp is the end of the patience.
func (s *s3Store) giveUp(key string, err error, after time.Duration) error {
	if full(err) {
		return exit.Errorf(contract.ExitStorage, "%s at %s was refused for %s: %w: make room there, or raise the quota",
			s.place(key), s.endpoint, after.Round(time.Second), err)
	}
	return exit.Errorf(contract.ExitStorage, "%s at %s could not be reached for %s: %w",
		s.place(key), s.endpoint, after.Round(time.Second), err)
}

// place is the URI of an object, or the folder in which the storage is tried: that object's name says nothing to anybody.
func (s *s3Store) place(key string) string {
	if folder, _, ok := strings.Cut(key, probeFolder); ok {
		key = folder
	}
	return s.URI(key)
}

// answered reports whether err, which may be nil, is the answer of a server that took the credentials.
func (s *s3Store) answered(err error) bool {
	return err == nil || errors.Is(err, ErrPreconditionFailed) || s3Code(err) == "NoSuchKey"
}
