package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Files of a checkpoint.
const (
	modelFile    = "model.safetensors"
	stateFile    = "state.safetensors"
	manifestFile = "manifest.json"
)

// errDamaged: a checkpoint is incomplete, or not what its manifest says.
var errDamaged = errors.New("damaged")

// manifest is the content of manifest.json.
type manifest struct {
	Name         string    `json:"name"`
	Attempt      int32     `json:"attempt"`
	Epoch        int32     `json:"epoch"`
	Step         int64     `json:"step"`
	Time         time.Time `json:"time"`
	ConfigDigest string    `json:"configDigest"`
	Config       config    `json:"config"`
	// Best is the name of the best checkpoint at the time, perhaps this one; "" if there was none.
	Best  string          `json:"best,omitempty"`
	Blobs map[string]blob `json:"blobs"`
	Meta  Meta            `json:"meta"`
}

// blob is the size in bytes and the SHA-256 of a file.
type blob struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func blobOf(data []byte) blob {
	sum := sha256.Sum256(data)
	return blob{int64(len(data)), hex.EncodeToString(sum[:])}
}

func (m manifest) encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%s of checkpoint %s: %w", manifestFile, m.Name, err)
	}
	return append(data, '\n'), nil
}

// load reads and verifies a checkpoint, and returns also the name of the best one at its time. Errors: errDamaged, exit
// code 64 if it is of another configuration, and those of the store.
func (c *Checkpoints) load(ctx context.Context, name string) (s *Snapshot, best string, err error) {
	var m manifest
	data, err := c.readFile(ctx, name, manifestFile)
	if err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", errDamaged, manifestFile, err)
	}
	if m.ConfigDigest != c.config.digest() {
		if err := c.config.compare(m.Config, name); err != nil {
			return nil, "", err
		}
	}
	s = &Snapshot{Meta: m.Meta}
	for file, tensors := range map[string]*StateDict{modelFile: &s.Model, stateFile: &s.State} {
		data, err := c.readFile(ctx, name, file)
		if err != nil {
			return nil, "", err
		}
		if got := blobOf(data); got != m.Blobs[file] {
			return nil, "", fmt.Errorf("%w: %s has %d bytes with SHA-256 %s, the manifest says %d with %s", errDamaged, file,
				got.Size, got.SHA256, m.Blobs[file].Size, m.Blobs[file].SHA256)
		}
		if *tensors, _, err = DecodeSafetensors(data); err != nil {
			return nil, "", fmt.Errorf("%w: %s: %w", errDamaged, file, err)
		}
	}
	return s, m.Best, nil
}

func (c *Checkpoints) readFile(ctx context.Context, name, file string) ([]byte, error) {
	data, _, err := store.ReadAll(ctx, c.store, path.Join(folder(name), file))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s is missing", errDamaged, file)
	}
	return data, storageError(err)
}
