package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// Background writes small files while its caller goes on: metrics, plots, logs, which nobody waits for. Of several
// contents of one key only the newest is written. While the storage is away it tries again.
type Background struct {
	ctx     context.Context // with the log; never ends
	store   Store
	mu      sync.Mutex
	pending map[string][]byte
	idle    chan struct{} // closed when nothing is pending; nil before the first Put
	err     error         // the last error that will not go away
	failing error         // why the last write failed; nil if it succeeded
}

// NewBackground returns a writer to st, which logs to the log in ctx and goes on when ctx is cancelled.
func NewBackground(ctx context.Context, st Store) *Background {
	return &Background{ctx: context.WithoutCancel(ctx), store: st, pending: map[string][]byte{}}
}

// Put hands the new content of an object over, which must not change any more.
func (b *Background) Put(key string, content []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) == 0 {
		b.idle = make(chan struct{})
		defer func() { go b.run() }()
	}
	b.pending[key] = content
}

// lastPatience is how long Flush waits for a storage that is away, as all others of this package.
const lastPatience = 90 * time.Second

// Flush waits until everything is written, as long as ctx lasts, and while the storage is away not for ever. Else the
// error is that of the last file that could not be written: those of Store.
func (b *Background) Flush(ctx context.Context) error {
	b.mu.Lock()
	idle := b.idle
	b.mu.Unlock()
	for waiting := idle != nil; waiting; {
		select {
		case <-idle:
			waiting = false
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lastPatience):
			if err := b.away(); err != nil {
				return err
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.err
	b.err = nil
	return err
}

// away is the error of a storage that is away at the moment, nil if it is not.
func (b *Background) away() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failing
}

// run writes until nothing is pending.
func (b *Background) run() {
	waited := func() {}
	defer func() { waited() }()
	for wait := time.Second; ; {
		start := time.Now()
		key, content := b.next()
		err := WriteAll(WithPatience(b.ctx, 10*time.Second), b.store, key, content)
		passing := exit.Code(err) == contract.ExitStorage && !errors.Is(err, ErrCredentials)
		b.note(err, passing)
		if passing {
			telemetry.Log(b.ctx).Warn("file not written yet; training goes on", "object", b.store.URI(key), "error", err, "retryIn", wait)
			if wait == time.Second {
				waited = telemetry.Wait(b.ctx, start, fmt.Sprintf("the storage, to write %s; training goes on: %v", key, err))
			}
			time.Sleep(wait)
			wait = min(2*wait, 30*time.Second)
			continue
		}
		waited()
		wait = time.Second
		if b.written(key, content, err) {
			return
		}
	}
}

// note keeps the error of a write that is made again.
func (b *Background) note(err error, passing bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failing = nil; passing {
		b.failing = err
	}
}

func (b *Background) next() (string, []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, content := range b.pending {
		return key, content
	}
	panic("nothing is pending")
}

// written notes the end of a write, and reports whether it was the last one.
func (b *Background) written(key string, content []byte, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.err = err
	}
	if now := b.pending[key]; len(now) == len(content) && (len(now) == 0 || &now[0] == &content[0]) {
		delete(b.pending, key) // else there is a newer content
	}
	if len(b.pending) > 0 {
		return false
	}
	close(b.idle)
	return true
}
