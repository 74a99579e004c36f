package checkpoint

import (
	"cmp"
	"context"
	"path"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// deleteOld deletes what is not kept. It is no reason to stop if that fails: the next save tries again.
func (c *Checkpoints) deleteOld(ctx context.Context, current string) {
	err := c.retain(ctx, current)
	switch {
	case err == nil:
	case exit.Code(err) == contract.ExitConfig && c.cannotDelete:
	case exit.Code(err) == contract.ExitConfig:
		c.cannotDelete = true
		telemetry.Log(ctx).Warn("old checkpoints stay, for they cannot be deleted; training goes on", "error", err)
	default:
		telemetry.Log(ctx).Warn("could not delete old checkpoints; the next save tries again", "error", err)
	}
}

// retain deletes all checkpoints but those to keep: older ones, damaged ones, and what older attempts left unfinished.
// It leaves alone what a newer attempt may have written. current is the one just saved.
func (c *Checkpoints) retain(ctx context.Context, current string) error {
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(f found) bool { return f.name == current })
	if at < 0 {
		return nil // the listing lags behind
	}
	keep := c.kept(all[:at+1])
	for i, f := range all {
		if keep[f.name] || f.attempt > c.attempt || (f.attempt == c.attempt && i > at) {
			continue
		}
		// The manifest first: what is half deleted must not look complete.
		slices.SortFunc(f.keys, func(a, b string) int {
			return cmp.Compare(path.Base(a), path.Base(b)) // manifest.json < model.safetensors < state.safetensors
		})
		if err := c.store.Delete(ctx, f.keys...); err != nil {
			return store.FieldError(err)
		}
	}
	return nil
}

// kept are the best checkpoint and the newest ones of what is there up to the current one. Of several of the same step,
// which attempts leave behind that died or fell back, one counts.
func (c *Checkpoints) kept(all []found) map[string]bool {
	keep := map[string]bool{c.bestName: true}
	n := 0
	var step int64 = -1
	for _, f := range slices.Backward(all) {
		complete := c.complete[f.name] || f.complete() // a listing may lag behind
		if n < c.keepLast && f.step != step && complete && !c.damaged[f.name] && f.attempt <= c.attempt {
			keep[f.name] = true
			n, step = n+1, f.step
		}
	}
	return keep
}
