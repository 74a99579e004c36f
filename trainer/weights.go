package trainer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// Weights say which trained weights Evaluate, Predict and Export use.
type Weights struct {
	// Checkpoint in the job's folder: "best", "latest", or the name of one. "" is "best".
	Checkpoint string
	// URI of a checkpoint, of a job's folder, or of a file with weights, in place of the job's own.
	URI string
	// ModelFile is a .safetensors or .pt file on this machine; it takes the place of a checkpoint.
	ModelFile string
}

// weights are those of a network, and what is known about them.
type weights struct {
	source string
	model  checkpoint.StateDict
	input  *checkpoint.Input // nil if a file does not say
	result *export.Result    // nil if it is a file
	ranges ranges            // of its activations, where the training has observed them; else nil
}

type ranges = map[string]quant.Range

// rangesMetadata is the key of a model file's metadata that holds the ranges of activations as JSON.
const rangesMetadata = "ranges"

// inputMetadata is the key of a model file's metadata that holds a checkpoint.Input as JSON.
const inputMetadata = "input"

// modelMetadata describes the model file of a network.
func modelMetadata(input checkpoint.Input, observed ranges) (map[string]string, error) {
	text, err := json.Marshal(input)
	metadata := map[string]string{"format": "pt", inputMetadata: string(text)}
	if err != nil || observed == nil {
		return metadata, err
	}
	text, err = json.Marshal(observed)
	metadata[rangesMetadata] = string(text)
	return metadata, err
}

// loadWeights reads weights from the job's folder, another one, or a file.
func loadWeights(ctx context.Context, job *v1.ResNetTrainingJob, which Weights) (*weights, error) {
	if which.ModelFile != "" {
		content, err := os.ReadFile(which.ModelFile)
		if err != nil {
			return nil, exit.Errorf(contract.ExitConfig, "model file: %w", err)
		}
		return decodeModelFile(which.ModelFile, content)
	}
	if which.URI == "" {
		st, err := openJob(ctx, job)
		if err != nil {
			return nil, err
		}
		return readCheckpoint(ctx, st, which.Checkpoint)
	}
	content, err := readFile(ctx, which.URI, job.Spec.Storage.S3)
	if err == nil {
		return decodeModelFile(uri.Public(which.URI), content)
	}
	if !errors.Is(err, store.ErrNotFound) || data.IsURL(which.URI) {
		return nil, fmt.Errorf("--weights: %w", err)
	}
	st, err := store.Open(ctx, which.URI, job.Spec.Storage.S3)
	if err != nil {
		return nil, fmt.Errorf("--weights: %w", err)
	}
	return readCheckpoint(ctx, st, which.Checkpoint)
}

// mostWeights is the largest file with weights that is read from a web server; that of ResNet-152 has 242 MB.
const mostWeights = 4 << 30

// readFile reads the file that a URI names, in a bucket, a folder, or on a web server. Errors: store.ErrNotFound if there
// is none.
func readFile(ctx context.Context, uri string, s3 *v1.S3Spec) ([]byte, error) {
	if data.IsURL(uri) {
		return data.ReadURL(ctx, uri, mostWeights)
	}
	return store.ReadFile(ctx, uri, s3)
}

// readCheckpoint reads the weights of a checkpoint: "best", which is also "", "latest", or the name of one.
func readCheckpoint(ctx context.Context, st store.Store, which string) (*weights, error) {
	which = cmp.Or(which, checkpoint.Best)
	loaded, err := checkpoint.Load(ctx, st, which, true)
	if errors.Is(err, checkpoint.ErrNoCheckpoint) {
		return nil, exit.Errorf(contract.ExitConfig,
			"%s has no checkpoint %q: train the job first, or name another checkpoint, folder or file", st.URI(""),
			which)
	}
	if err != nil {
		return nil, err
	}
	return &weights{loaded.URI, loaded.Model, &loaded.Meta.Input, resultOf(loaded.Name, loaded.Meta),
		loaded.Meta.Ranges}, nil
}

func decodeModelFile(path string, content []byte) (*weights, error) {
	model, err := export.ReadWeights(content)
	if err != nil {
		return nil, exit.Errorf(contract.ExitData, "model file %s: %w", path, err)
	}
	_, metadata, err := checkpoint.DecodeSafetensors(content)
	if err != nil { // PyTorch's, which describes nothing
		metadata = nil
	}
	w := &weights{source: path, model: model}
	for key, into := range map[string]any{inputMetadata: &w.input, rangesMetadata: &w.ranges} {
		if text, ok := metadata[key]; ok {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return nil, exit.Errorf(contract.ExitData, "model file %s: its metadata %q: %w", path, key, err)
			}
		}
	}
	return w, nil
}

// doNotFit says that the weights are those of another network.
func (w *weights) doNotFit(err error) error {
	return exit.Errorf(contract.ExitConfig, "%s does not fit spec.model and spec.dataset: %w", w.source, err)
}
