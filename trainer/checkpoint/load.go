package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
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
	config    config
}

// ErrNoCheckpoint: what Load was pointed at is neither a checkpoint nor the folder of a job that has one.
var ErrNoCheckpoint = errors.New("no checkpoint")

// Load reads a checkpoint and verifies it. It changes nothing, so that it may be used beside a running job. st is the
// folder of a job, or that of a checkpoint; then which does not count. modelOnly leaves State empty.
//
// Errors: ErrNoCheckpoint, exit code 65 if the checkpoint is damaged, 64 if a newer version of the trainer wrote it, and
// those of package store.
func Load(ctx context.Context, st store.Store, which string, modelOnly bool) (*Loaded, error) {
	dir := ""
	m, err := readManifest(ctx, st, dir)
	for tries := 0; errors.Is(err, errDamaged); tries++ {
		name, nameErr := resolve(ctx, st, which)
		if nameErr != nil {
			return nil, nameErr
		}
		dir = folder(name)
		m, err = readManifest(ctx, st, dir)
		if tries == 3 {
			break
		}
		// Else: a running job may have moved its pointer and deleted the checkpoint meanwhile.
	}
	if err != nil {
		return nil, damagedData(st.URI(dir), err)
	}
	s, err := readBlobs(ctx, st, dir, m, modelOnly)
	if err != nil {
		return nil, damagedData(st.URI(dir), err)
	}
	return &Loaded{Snapshot: *s, Name: m.Name, URI: st.URI(dir), config: m.Config}, nil
}

// Differences names the fields of the model, data set and recipe in which a job differs from the one that made the
// checkpoint; "" if there are none.
func (l *Loaded) Differences(spec *v1.ResNetTrainingJobSpec) (string, error) {
	c, err := configOf(spec)
	if err != nil {
		return "", err
	}
	return c.differences(l.config), nil
}

// resolve returns the name of a checkpoint in a job's folder.
func resolve(ctx context.Context, st store.Store, which string) (string, error) {
	if which != Latest && which != Best {
		if !isName(which) {
			return "", fmt.Errorf("%w is called %q: a name is such as %s", ErrNoCheckpoint, which, contract.CheckpointName(3, 1407, 1))
		}
		files, err := st.List(ctx, folder(which)+"/")
		if err != nil {
			return "", err
		}
		if len(files) == 0 {
			return "", ErrNoCheckpoint
		}
		return which, nil
	}
	data, err := readFile(ctx, st, contract.LatestKey)
	if errors.Is(err, errDamaged) {
		return "", ErrNoCheckpoint
	}
	if err != nil {
		return "", err
	}
	var p pointer
	if err := json.Unmarshal(data, &p); err != nil {
		return "", exit.Errorf(contract.ExitData, "%s is damaged: %w", st.URI(contract.LatestKey), err)
	}
	if err := checkFormat(p.Format, st.URI(contract.LatestKey)); err != nil {
		return "", err
	}
	name := p.Checkpoint
	if which == Best {
		name = p.Best
	}
	if name == "" {
		return "", ErrNoCheckpoint
	}
	if !isName(name) {
		return "", exit.Errorf(contract.ExitData, "%s is damaged: it names %q, which is no checkpoint", st.URI(contract.LatestKey), name)
	}
	return name, nil
}

// damagedData says that a checkpoint that a person named is damaged.
func damagedData(uri string, err error) error {
	if errors.Is(err, errDamaged) {
		return exit.Errorf(contract.ExitData, "checkpoint %s is %w: choose another one", path.Clean(uri), err)
	}
	return err
}
