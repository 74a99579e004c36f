package checkpoint

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Checkpoints are the checkpoints of one job, opened by one attempt. It is not safe for concurrent use.
type Checkpoints struct {
	store   store.Store
	attempt int32
	owner   string // random, one for each Open
	config  config

	latest, best slot

	base     string // the last checkpoint known to be good: resumed from, or saved
	bestName string // the best checkpoint, "" if there is none
}

// Open claims the checkpoints in st, the job's folder, for an attempt: older attempts are fenced from now on. Attempt 0
// means one more than the newest so far, for runs without an operator. spec must be defaulted.
//
// Errors: exit code 74 if a newer attempt was here, and those of package store.
func Open(ctx context.Context, st store.Store, attempt int32, spec *v1.ResNetTrainingJobSpec) (*Checkpoints, error) {
	config, err := configOf(spec)
	if err != nil {
		return nil, err
	}
	c := &Checkpoints{store: st, attempt: attempt, owner: rand.Text(), config: config}
	if c.latest, err = c.claim(ctx, contract.LatestKey, func(p *pointer) {
		if attempt == 0 {
			c.attempt = p.Attempt + 1
		}
	}); err != nil {
		return nil, err
	}
	c.base, c.bestName = c.latest.value.Checkpoint, c.latest.value.Best
	if c.bestName == "" {
		c.best, err = c.read(ctx, contract.BestKey)
	} else {
		c.best, err = c.claim(ctx, contract.BestKey, c.setBest)
	}
	return c, err
}

// Attempt is the number of the attempt, from 1.
func (c *Checkpoints) Attempt() int32 { return c.attempt }

// Save writes and commits a checkpoint, and deletes old ones. isBest marks it as the best so far.
//
// Errors: exit code 74 if a newer attempt owns the job, and those of package store.
func (c *Checkpoints) Save(ctx context.Context, s Snapshot, isBest bool) (contract.Checkpoint, error) {
	name := contract.CheckpointName(s.Meta.Epoch, s.Meta.Step, c.attempt)
	now := time.Now().UTC().Truncate(time.Millisecond)
	best := c.bestName
	if isBest {
		best = name
	}
	// A save of the very state that is committed already must not touch it: latest.json names it.
	if name != c.base || name != c.latest.value.Checkpoint {
		if err := c.write(ctx, name, best, s, now); err != nil {
			return contract.Checkpoint{}, err
		}
	}
	next := pointer{Attempt: c.attempt, Owner: c.owner, Time: now, Checkpoint: name, Epoch: s.Meta.Epoch, Step: s.Meta.Step,
		Accuracy: s.Meta.lastAccuracy(), Best: best, BestAccuracy: s.Meta.BestAccuracy}
	if err := c.move(ctx, contract.LatestKey, &c.latest, next); err != nil {
		return contract.Checkpoint{}, err
	}
	previous := c.base
	c.base, c.bestName = name, best
	if err := c.moveBest(ctx); err != nil {
		return contract.Checkpoint{}, err
	}
	if err := c.retain(ctx, name, previous, best); err != nil {
		slog.Warn("could not delete old checkpoints; the next save tries again", "error", err)
	}
	return contract.Checkpoint{Name: name, URI: c.store.URI(folder(name)), Time: now}, nil
}

// write uploads the blobs of a checkpoint, then its manifest.
func (c *Checkpoints) write(ctx context.Context, name, best string, s Snapshot, now time.Time) error {
	m := manifest{Name: name, Attempt: c.attempt, Epoch: s.Meta.Epoch, Step: s.Meta.Step, Time: now,
		ConfigDigest: c.config.digest(), Config: c.config, Best: best, Blobs: map[string]blob{}, Meta: s.Meta}
	for file, tensors := range map[string]StateDict{modelFile: s.Model, stateFile: s.State} {
		data, err := EncodeSafetensors(tensors, map[string]string{"format": "pt"})
		if err != nil {
			return fmt.Errorf("%s of checkpoint %s: %w", file, name, err)
		}
		if err := c.put(ctx, path.Join(folder(name), file), data); err != nil {
			return err
		}
		m.Blobs[file] = blobOf(data)
	}
	data, err := m.encode()
	if err != nil {
		return err
	}
	return c.put(ctx, path.Join(folder(name), manifestFile), data)
}

func (c *Checkpoints) put(ctx context.Context, key string, data []byte) error {
	return storageError(store.WriteAll(ctx, c.store, key, data))
}

// folder of a checkpoint.
func folder(name string) string { return path.Join(contract.CheckpointsPrefix, name) }

// storageError names the field of the spec that an error of the store belongs to.
func storageError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("storage.uri: %w", err)
}
