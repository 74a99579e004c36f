// Package telemetry carries the log of a run, and what the run waits for, in the context, to the packages that read and
// write its data. Without one in the context they log to slog.Default.
package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// run is what the context carries.
type run struct {
	log     *slog.Logger
	waiting func(*contract.Waiting)

	mu    sync.Mutex
	waits []*contract.Waiting // under way, the oldest first
}

type key struct{}

// NewContext returns a context whose users write to log, and tell waiting what they wait for: the oldest of what is
// waited for at a time, nil once it is nothing. Both arguments may be nil.
func NewContext(ctx context.Context, log *slog.Logger, waiting func(*contract.Waiting)) context.Context {
	return context.WithValue(ctx, key{}, &run{log: log, waiting: waiting})
}

// Log returns the log of the run.
func Log(ctx context.Context) *slog.Logger {
	if r, ok := ctx.Value(key{}).(*run); ok && r.log != nil {
		return r.log
	}
	return slog.Default()
}

// Wait says that the run waits for something since a moment, until done is called. The text is for people and must hold
// no secret.
func Wait(ctx context.Context, since time.Time, text string) (done func()) {
	r, ok := ctx.Value(key{}).(*run)
	if !ok || r.waiting == nil {
		return func() {}
	}
	w := &contract.Waiting{For: contract.Line(text), Since: since.UTC().Truncate(time.Second)}
	r.change(func() { r.waits = append(r.waits, w) })
	return sync.OnceFunc(func() {
		r.change(func() { r.waits = slices.DeleteFunc(r.waits, func(other *contract.Waiting) bool { return other == w }) })
	})
}

func (r *run) change(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	if len(r.waits) == 0 {
		r.waiting(nil)
		return
	}
	r.waiting(r.waits[0])
}
