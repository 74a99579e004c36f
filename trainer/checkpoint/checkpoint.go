package checkpoint

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Checkpoints are the checkpoints of one job, opened by one attempt. It is not safe for concurrent use.
type Checkpoints struct {
	store    store.Store
	job      string // namespace/name/uid
	attempt  int32
	owner    string // random, one for each Open
	config   config
	keepLast int
	keepBest bool

	latest, best slot
	found        *Meta // of the checkpoint that latest.json named

	bestName     string // the best checkpoint, "" if there is none
	bestAccuracy float64
	written      string          // the last one whose files are complete, whether latest.json names it or not
	complete     map[string]bool // those that this process has saved or verified
	damaged      map[string]bool // those that did not verify
	cannotDelete bool            // said once
}

// Open claims the checkpoints in st, the job's folder, for an attempt: older attempts are fenced from now on. Attempt 0
// means one more than the newest so far, for runs without an operator. The job must be defaulted. Before all else it
// tries whether the storage can do what this rests on (store.Probe). If it returns an error, nothing was changed, or only
// the owner of the pointers.
//
// Errors: exit code 74 if a newer attempt was here, 64 if what is there belongs to another job, another configuration or
// a newer version of the trainer, and those of package store.
func Open(ctx context.Context, st store.Store, job *v1.ResNetTrainingJob, attempt int32) (*Checkpoints, error) {
	config, err := configOf(&job.Spec)
	if err != nil {
		return nil, err
	}
	if err := store.Probe(ctx, st); err != nil {
		return nil, store.FieldError(err)
	}
	spec := job.Spec.Checkpoint
	c := &Checkpoints{store: st, job: contract.JobPrefix(job.Namespace, job.Name, string(job.UID)), attempt: attempt,
		owner: rand.Text(), config: config, keepLast: int(cmp.Or(spec.KeepLast, 2)), complete: map[string]bool{}, damaged: map[string]bool{},
		keepBest: spec.KeepBest == nil || *spec.KeepBest || job.Spec.Export.Weights == v1.WeightsBest}
	if c.latest, err = c.claim(ctx, contract.LatestKey, func(p *pointer) error { return c.admit(ctx, attempt, p) }); err != nil {
		return nil, err
	}
	c.bestName, c.bestAccuracy = c.latest.value.Best, c.latest.value.BestAccuracy
	if c.bestName == "" {
		c.best, err = c.read(ctx, contract.BestKey)
	} else {
		c.best, err = c.claim(ctx, contract.BestKey, func(p *pointer) error { c.setBest(p); return nil })
	}
	return c, err
}

// admit checks that this process may own what latest.json says, and sets its number if attempt is 0.
func (c *Checkpoints) admit(ctx context.Context, attempt int32, p *pointer) error {
	newest := p.Attempt
	if newest == 0 { // no pointer, or a damaged one: the folders tell who was here
		all, err := c.list(ctx)
		if err != nil {
			return err
		}
		for _, f := range all {
			newest = max(newest, f.attempt)
		}
	}
	switch {
	case attempt == 0:
		c.attempt = newest + 1
	case attempt < newest:
		return c.fenced(newest)
	}
	if p.Checkpoint == "" {
		return nil
	}
	m, err := readManifest(ctx, ownStore{c.store}, folder(p.Checkpoint))
	if errors.Is(err, errDamaged) {
		return nil // Resume looks for another one
	}
	if err != nil {
		return err
	}
	c.found = &m.Meta
	return c.config.compare(m)
}

// Found is what is known of the checkpoint that Resume will most likely return, before it is read; nil if nothing is.
func (c *Checkpoints) Found() *Meta { return c.found }

// Attempt is the number of the attempt, from 1.
func (c *Checkpoints) Attempt() int32 { return c.attempt }

// Save writes and commits a checkpoint, and deletes old ones. isBest marks it as the best so far.
//
// Errors: exit code 74 if a newer attempt owns the job, and those of package store.
func (c *Checkpoints) Save(ctx context.Context, s Snapshot, isBest bool) (contract.Checkpoint, error) {
	name := contract.CheckpointName(s.Meta.Epoch, s.Meta.Step, c.attempt)
	now := time.Now().UTC().Truncate(time.Millisecond)
	best, bestAccuracy := c.bestName, c.bestAccuracy
	if isBest && c.keepBest {
		best, bestAccuracy = name, s.Meta.score()
	}
	m := manifest{Format: format, Job: c.job, Name: name, Attempt: c.attempt, Epoch: s.Meta.Epoch, Step: s.Meta.Step, Time: now,
		ConfigDigest: c.config.digest(), Config: c.config, Best: best, BestAccuracy: bestAccuracy, Meta: s.Meta}
	// A save of the very state that is there already must not touch it: latest.json may name it.
	if name != c.written && (name != c.latest.value.Checkpoint || c.damaged[name]) {
		if err := c.write(ctx, m, s); err != nil {
			return contract.Checkpoint{}, err
		}
		c.written, c.complete[name] = name, true
	}
	next := pointer{Format: format, Job: c.job, Attempt: c.attempt, Owner: c.owner, Time: now, Checkpoint: name, Epoch: s.Meta.Epoch,
		Step: s.Meta.Step, Accuracy: s.Meta.lastAccuracy(), Best: best, BestAccuracy: bestAccuracy}
	if err := c.move(ctx, contract.LatestKey, &c.latest, next); err != nil {
		return contract.Checkpoint{}, err
	}
	c.bestName, c.bestAccuracy = best, bestAccuracy
	if err := c.moveBest(ctx); err != nil {
		return contract.Checkpoint{}, err
	}
	c.deleteOld(ctx, name)
	return contract.Checkpoint{Name: name, URI: c.store.URI(folder(name)), Time: now}, nil
}

// write uploads the blobs of a checkpoint, then its manifest.
func (c *Checkpoints) write(ctx context.Context, m manifest, s Snapshot) error {
	m.Blobs = map[string]blob{}
	for file, tensors := range map[string]StateDict{modelFile: s.Model, stateFile: s.State} {
		r, err := encode(tensors, map[string]string{"format": "pt"})
		if err != nil {
			return fmt.Errorf("%s of checkpoint %s: %w", file, m.Name, err)
		}
		m.Blobs[file] = r.blob()
		if _, err := c.store.Put(ctx, path.Join(folder(m.Name), file), r, r.size); err != nil {
			return store.FieldError(err)
		}
	}
	data, err := m.encode()
	if err != nil {
		return err
	}
	return store.FieldError(store.WriteAll(ctx, c.store, path.Join(folder(m.Name), manifestFile), data))
}

// folder of a checkpoint.
func folder(name string) string { return path.Join(contract.CheckpointsPrefix, name) }
