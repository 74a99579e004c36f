package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// Resume returns the checkpoint that latest.json names, or else the newest that verifies, and its name; nil if there is
// none. What it skips, it logs.
//
// Errors: exit code 64 if the checkpoint belongs to another configuration, and those of package store.
func (c *Checkpoints) Resume(ctx context.Context) (*Snapshot, string, error) {
	latest := c.latest.value.Checkpoint
	if latest != "" {
		s, _, err := c.load(ctx, latest)
		if !c.skip(ctx, latest, err) {
			return s, latest, err
		}
	}
	// From here on what latest.json says is no longer relied upon.
	c.bestName, c.bestAccuracy = "", 0
	all, err := c.list(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, f := range slices.Backward(all) {
		if f.name == latest || !f.complete() {
			continue
		}
		s, m, err := c.load(ctx, f.name)
		if c.skip(ctx, f.name, err) {
			continue
		}
		if slices.ContainsFunc(all, func(f found) bool { return f.name == m.Best && !c.damaged[f.name] && f.complete() }) {
			c.bestName, c.bestAccuracy = m.Best, m.BestAccuracy
		}
		return s, f.name, err
	}
	if latest != "" {
		telemetry.Log(ctx).Error("no checkpoint verifies: training starts from the beginning", "folder", c.store.URI(contract.CheckpointsPrefix))
	}
	return nil, "", nil
}

// skip reports whether a checkpoint could not be loaded because it is damaged.
func (c *Checkpoints) skip(ctx context.Context, name string, err error) bool {
	damaged := errors.Is(err, errDamaged)
	c.complete[name] = err == nil
	if damaged {
		c.damaged[name] = true
		telemetry.Log(ctx).Warn("skipping a checkpoint", "checkpoint", c.store.URI(folder(name)), "reason", err)
	}
	return damaged
}

// Best returns the checkpoint with the best accuracy, and its name; nil if there is none that verifies.
func (c *Checkpoints) Best(ctx context.Context) (*Snapshot, string, error) {
	if c.bestName == "" {
		return nil, "", nil
	}
	s, _, err := c.load(ctx, c.bestName)
	if c.skip(ctx, c.bestName, err) {
		return nil, "", nil
	}
	return s, c.bestName, err
}

// found is a checkpoint's folder in the store, complete or not.
type found struct {
	name    string
	epoch   int32
	step    int64
	attempt int32
	keys    []string
}

// complete reports whether all files are there; a manifest alone can be a request that arrived after a deletion.
func (f found) complete() bool {
	for _, file := range []string{modelFile, stateFile, manifestFile} {
		if !slices.Contains(f.keys, path.Join(folder(f.name), file)) {
			return false
		}
	}
	return true
}

func (f found) compare(g found) int {
	return cmp.Or(cmp.Compare(f.epoch, g.epoch), cmp.Compare(f.step, g.step), cmp.Compare(f.attempt, g.attempt))
}

// list returns what is there, oldest first.
func (c *Checkpoints) list(ctx context.Context) ([]found, error) {
	infos, err := c.store.List(ctx, contract.CheckpointsPrefix+"/")
	if err != nil {
		return nil, store.FieldError(err)
	}
	var all []found
	for _, info := range infos { // sorted by key, so the files of a checkpoint are neighbours
		name, _, _ := strings.Cut(strings.TrimPrefix(info.Key, contract.CheckpointsPrefix+"/"), "/")
		epoch, step, attempt, ok := parseName(name)
		if !ok {
			continue // not ours
		}
		if len(all) == 0 || all[len(all)-1].name != name {
			all = append(all, found{name: name, epoch: epoch, step: step, attempt: attempt})
		}
		last := &all[len(all)-1]
		last.keys = append(last.keys, info.Key)
	}
	slices.SortFunc(all, found.compare)
	return all, nil
}

// isName is true for the name of a checkpoint: not for a path that leads out of the folder.
func isName(name string) bool {
	_, _, _, ok := parseName(name)
	return ok
}

// parseName is the inverse of contract.CheckpointName.
func parseName(name string) (epoch int32, step int64, attempt int32, ok bool) {
	_, err := fmt.Sscanf(name, "%d-%d-a%d", &epoch, &step, &attempt)
	return epoch, step, attempt, err == nil && contract.CheckpointName(epoch, step, attempt) == name
}
