package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// pointer is the content of latest.json and best.json.
type pointer struct {
	Format int    `json:"format"`
	Job    string `json:"job"` // namespace/name/uid
	// Attempt and Owner say which process wrote it.
	Attempt int32     `json:"attempt"`
	Owner   string    `json:"owner"`
	Time    time.Time `json:"time"`

	// Checkpoint is its name, "" while there is none; Epoch, Step and Accuracy are copied from it.
	Checkpoint string  `json:"checkpoint,omitempty"`
	Epoch      int32   `json:"epoch"`
	Step       int64   `json:"step"`
	Accuracy   float64 `json:"accuracy"`

	// Best is the name of the best checkpoint, only in latest.json.
	Best         string  `json:"best,omitempty"`
	BestAccuracy float64 `json:"bestAccuracy,omitempty"`
}

// slot is a pointer as this process last saw it; the ETag is "" if there was none.
type slot struct {
	etag  string
	value pointer
}

// read returns the present pointer. One that cannot be decoded counts as empty.
func (c *Checkpoints) read(ctx context.Context, key string) (slot, error) {
	data, info, err := store.ReadAll(ctx, c.store, key)
	if errors.Is(err, store.ErrNotFound) {
		return slot{}, nil
	}
	if err != nil {
		return slot{}, store.FieldError(err)
	}
	s := slot{etag: info.ETag}
	if err := json.Unmarshal(data, &s.value); err != nil {
		telemetry.Log(ctx).Warn("pointer is damaged and will be replaced", "object", c.store.URI(key), "error", err)
		s.value = pointer{}
	}
	if err := checkFormat(s.value.Format, c.store.URI(key)); err != nil {
		return slot{}, err
	}
	for _, name := range []*string{&s.value.Checkpoint, &s.value.Best} {
		if *name != "" && !isName(*name) {
			telemetry.Log(ctx).Warn("pointer names what is no checkpoint; looking for the newest one", "object", c.store.URI(key), "name", *name)
			*name = ""
		}
	}
	if job := s.value.Job; job != "" && job != c.job {
		return slot{}, exit.Errorf(contract.ExitConfig, "spec.storage.uri: %s belongs to the job %s, this one is %s: choose another spec.storage.uri",
			c.store.URI(key), job, c.job)
	}
	return s, nil
}

// claim makes this process the owner of a pointer, if no newer attempt is, and lets change edit its content.
func (c *Checkpoints) claim(ctx context.Context, key string, change func(*pointer) error) (slot, error) {
	for try := 0; ; try++ {
		seen, err := c.read(ctx, key)
		if err != nil {
			return slot{}, err
		}
		if seen.value.Owner == c.owner {
			return seen, nil // we did it already: the answer was lost
		}
		next := seen.value
		if err := change(&next); err != nil {
			return slot{}, err
		}
		if seen.value.Attempt > c.attempt {
			return slot{}, c.fenced(seen.value.Attempt)
		}
		next.Format, next.Job, next.Attempt, next.Owner, next.Time = format, c.job, c.attempt, c.owner, time.Now().UTC().Truncate(time.Millisecond)
		claimed, err := c.putPointer(ctx, key, next, seen.etag)
		if err == nil || !errors.Is(err, store.ErrPreconditionFailed) {
			return claimed, err
		}
		// Someone was faster: an older attempt that saved, a newer one, or ourselves with a lost answer. Look.
		if err := c.pause(ctx, key, try); err != nil {
			return slot{}, err
		}
	}
}

// move replaces a pointer that this process owns. Exit code 74: it has another owner by now.
func (c *Checkpoints) move(ctx context.Context, key string, s *slot, next pointer) error {
	for try := 0; ; try++ {
		moved, err := c.putPointer(ctx, key, next, s.etag)
		if err == nil {
			*s = moved
			return nil
		}
		if !errors.Is(err, store.ErrPreconditionFailed) {
			return err
		}
		seen, err := c.read(ctx, key)
		switch {
		case err != nil:
			return err
		case seen.etag == "":
			return fmt.Errorf("%s was deleted while the job was running", c.store.URI(key))
		case seen.value == next: // ours, the answer was lost
			*s = seen
			return nil
		case seen.value.Owner != c.owner:
			return c.fenced(seen.value.Attempt)
		}
		*s = seen // an earlier write of ours, whose answer was lost as well
		if err := c.pause(ctx, key, try); err != nil {
			return err
		}
	}
}

// mostTries is how often a pointer is written that somebody else changes each time, or so the storage says.
const mostTries = 20

// pause waits before a pointer is written again, for longer each time. Exit code 69: that was enough.
func (c *Checkpoints) pause(ctx context.Context, key string, try int) error {
	if try+1 >= mostTries {
		return store.FieldError(exit.Errorf(contract.ExitStorage, "%s: the storage refused %d conditional writes, each with the ETag that it had just sent: do not change ETags on the way to it",
			c.store.URI(key), mostTries))
	}
	select {
	case <-time.After(min(time.Millisecond<<try, time.Second)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Checkpoints) putPointer(ctx context.Context, key string, p pointer, ifMatch string) (slot, error) {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return slot{}, err
	}
	etag, err := c.store.PutIf(ctx, key, append(data, '\n'), ifMatch)
	return slot{etag, p}, store.FieldError(err)
}

// moveBest makes best.json say what latest.json says.
func (c *Checkpoints) moveBest(ctx context.Context) error {
	next := c.best.value
	c.setBest(&next)
	if c.bestName == "" || next == c.best.value {
		return nil
	}
	next.Format, next.Job, next.Attempt, next.Owner, next.Time = format, c.job, c.attempt, c.owner, c.latest.value.Time
	return c.move(ctx, contract.BestKey, &c.best, next)
}

// setBest copies the best checkpoint from latest.json.
func (c *Checkpoints) setBest(p *pointer) {
	epoch, step, _, _ := parseName(c.bestName)
	p.Checkpoint, p.Epoch, p.Step, p.Accuracy = c.bestName, epoch, step, c.bestAccuracy
}

func (c *Checkpoints) fenced(by int32) error {
	return exit.Errorf(contract.ExitFenced, "attempt %d owns the checkpoints: attempt %d stops", by, c.attempt)
}
