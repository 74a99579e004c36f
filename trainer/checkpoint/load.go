package checkpoint

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Which checkpoint of a job's folder Load reads; any other text is the name of one.
const (
	Latest = "latest"
	Best   = "best"
)

// Loaded is a checkpoint that was read from outside of its job.
type Loaded struct {
	Snapshot
	// Name and URI of the checkpoint.
	Name, URI string
}

// ErrNoCheckpoint: what Load was pointed at is not the folder of a job that has a checkpoint.
var ErrNoCheckpoint = errors.New("no checkpoint")

// Load reads a checkpoint from a job's folder and verifies it, without claiming anything.
//
// Errors: ErrNoCheckpoint, exit code 65 if the checkpoint is damaged, and those of package store.
func Load(ctx context.Context, st store.Store, which string, _ bool) (*Loaded, error) {
	name := which
	if which == Latest || which == Best {
		data, _, err := store.ReadAll(ctx, st, contract.LatestKey)
		if errors.Is(err, store.ErrNotFound) {
			return nil, ErrNoCheckpoint
		}
		if err != nil {
			return nil, storageError(err)
		}
		var p pointer
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, exit.Errorf(contract.ExitData, "%s is damaged: %w", st.URI(contract.LatestKey), err)
		}
		if name = p.Checkpoint; which == Best {
			name = p.Best
		}
		if name == "" {
			return nil, ErrNoCheckpoint
		}
	}
	c := &Checkpoints{store: st, config: config{}}
	s, _, err := c.load(ctx, name)
	if errors.Is(err, errDamaged) {
		return nil, exit.Errorf(contract.ExitData, "checkpoint %s is %w: choose another one", st.URI(folder(name)), err)
	}
	if err != nil {
		return nil, err
	}
	return &Loaded{Snapshot: *s, Name: name, URI: st.URI(folder(name))}, nil
}
