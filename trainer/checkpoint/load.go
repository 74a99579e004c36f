package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"path"

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

// ErrNoCheckpoint: what Load was pointed at is neither a checkpoint nor the folder of a job that has one.
var ErrNoCheckpoint = errors.New("no checkpoint")

// Load reads a checkpoint and verifies it, without claiming its job. st is the folder of a job, or that of a checkpoint;
// then which does not count. modelOnly leaves State empty.
func Load(ctx context.Context, st store.Store, which string, modelOnly bool) (*Loaded, error) {
	data, _, err := store.ReadAll(ctx, st, manifestFile)
	dir := ""
	if errors.Is(err, store.ErrNotFound) {
		name, nameErr := resolve(ctx, st, which)
		if nameErr != nil {
			return nil, nameErr
		}
		dir = folder(name)
		data, _, err = store.ReadAll(ctx, st, path.Join(dir, manifestFile))
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoCheckpoint
	}
	if err != nil {
		return nil, storageError(err)
	}
	var m manifest
	damaged := json.Unmarshal(data, &m)
	l := &Loaded{Snapshot: Snapshot{Meta: m.Meta}, Name: m.Name, URI: st.URI(dir)}
	if damaged == nil {
		data, _, damaged = store.ReadAll(ctx, st, path.Join(dir, modelFile))
	}
	if damaged == nil && blobOf(data) != m.Blobs[modelFile] {
		damaged = errDamaged
	}
	if damaged == nil {
		l.Model, _, damaged = DecodeSafetensors(data)
	}
	if damaged != nil {
		return nil, exit.Errorf(contract.ExitData, "checkpoint %s: %w", st.URI(dir), damaged)
	}
	return l, nil
}

func resolve(ctx context.Context, st store.Store, which string) (string, error) {
	if which != Latest && which != Best {
		return which, nil
	}
	s, err := (&Checkpoints{store: st}).read(ctx, contract.LatestKey)
	name := s.value.Checkpoint
	if which == Best {
		name = s.value.Best
	}
	if err == nil && name == "" {
		err = ErrNoCheckpoint
	}
	return name, err
}
