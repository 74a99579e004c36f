package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
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

// format is the version of what this package writes. A newer one is refused.
const format = 1

// manifest is the content of manifest.json.
type manifest struct {
	Format       int       `json:"format"`
	Job          string    `json:"job"` // namespace/name/uid
	Name         string    `json:"name"`
	Attempt      int32     `json:"attempt"`
	Epoch        int32     `json:"epoch"`
	Step         int64     `json:"step"`
	Time         time.Time `json:"time"`
	ConfigDigest string    `json:"configDigest"`
	Config       config    `json:"config"`
	// Best is the name of the best checkpoint at the time, perhaps this one; "" if there was none.
	Best         string          `json:"best,omitempty"`
	BestAccuracy float64         `json:"bestAccuracy,omitempty"`
	Blobs        map[string]blob `json:"blobs"`
	Meta         Meta            `json:"meta"`
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

// readManifest returns the manifest in a folder. Errors: errDamaged, exit code 64 if a newer version of the trainer wrote
// it, and those of the store.
func readManifest(ctx context.Context, st store.Store, dir string) (m manifest, err error) {
	data, err := readFile(ctx, st, path.Join(dir, manifestFile))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%w: %s: %w", errDamaged, manifestFile, err)
	}
	return m, checkFormat(m.Format, st.URI(path.Join(dir, manifestFile)))
}

func checkFormat(found int, uri string) error {
	if found > format {
		return exit.Errorf(contract.ExitConfig, "%s has format %d, this trainer knows up to %d: use the newer version that wrote it", uri, found, format)
	}
	return nil
}

// readBlobs reads and verifies the tensors of a checkpoint, or only those of the model.
func readBlobs(ctx context.Context, st store.Store, dir string, m manifest, modelOnly bool) (*Snapshot, error) {
	s := &Snapshot{Meta: m.Meta}
	into := map[string]*StateDict{modelFile: &s.Model, stateFile: &s.State}
	if modelOnly {
		delete(into, stateFile)
	}
	for file, tensors := range into {
		data, err := readFile(ctx, st, path.Join(dir, file))
		if err != nil {
			return nil, err
		}
		if blobOf(data) != m.Blobs[file] {
			return nil, fmt.Errorf("%w: %s has not the %d bytes with SHA-256 %s that the manifest says", errDamaged, file,
				m.Blobs[file].Size, m.Blobs[file].SHA256)
		}
		if *tensors, _, err = DecodeSafetensors(data); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errDamaged, file, err)
		}
	}
	return s, nil
}

func readFile(ctx context.Context, st store.Store, key string) ([]byte, error) {
	data, _, err := store.ReadAll(ctx, st, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s is missing", errDamaged, path.Base(key))
	}
	return data, err
}

// ownStore is the storage of the job: errors of reading name its field in the spec.
type ownStore struct{ store.Store }

func (s ownStore) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	r, info, err := s.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return r, info, err
	}
	return r, info, store.FieldError(err)
}

// load reads and verifies a checkpoint of this job. Errors: those of readManifest, and exit code 64 if it is of another
// configuration.
func (c *Checkpoints) load(ctx context.Context, name string) (*Snapshot, manifest, error) {
	m, err := readManifest(ctx, ownStore{c.store}, folder(name))
	if err != nil {
		return nil, m, err
	}
	if err := c.config.compare(m); err != nil {
		return nil, m, err
	}
	s, err := readBlobs(ctx, ownStore{c.store}, folder(name), m, false)
	return s, m, err
}
