package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// ExportOptions are the circumstances of an export.
type ExportOptions struct {
	// Weights; a Checkpoint of "" is what Spec.Weights says.
	Weights
	// Folder is the URI of a checkpoint or of a job's folder, in place of the job's own; "" is the job's own.
	Folder string
	// Spec says in which formats.
	Spec v1.ExportSpec
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
}

// Export writes trained weights of a job as files, each by a call of put, the model card last. It changes nothing in the
// job's folder. The card that the job left there says what the data looks like; without one the data is read.
//
// Errors: exit code 64 if there are no such weights or they do not fit the job, 65 if their file is damaged, and those of
// packages data and store.
func Export(ctx context.Context, job *v1.ResNetTrainingJob, opts ExportOptions, put func(name string, content []byte) error) error {
	st, err := openJob(ctx, job)
	if err != nil {
		return err
	}
	w, result, err := opts.read(ctx, job, st)
	if err != nil {
		return err
	}
	if w.input == nil {
		if w.input, err = findInput(ctx, job, st, opts.CacheDir); err != nil {
			return err
		}
	}
	m, err := exportedModel(job.Spec.Model, w.model, *w.input)
	if err != nil {
		return err
	}
	if err := m.Check(); err != nil {
		return exit.Errorf(contract.ExitConfig, "the weights do not fit spec.model: %w", err)
	}
	return export.Write(m, opts.Spec, cardOf(job, result), put)
}

// read returns the weights, and what they reached if that is known.
func (o *ExportOptions) read(ctx context.Context, job *v1.ResNetTrainingJob, st store.Store) (*weights, *export.Result, error) {
	if o.ModelFile != "" {
		w, err := readModelFile(o.ModelFile)
		return w, nil, err
	}
	which := o.Checkpoint
	if which == "" {
		which = checkpoint.Latest
		if o.Spec.Weights == v1.WeightsBest {
			which = checkpoint.Best
		}
	}
	if o.Folder != "" {
		other, err := store.Open(ctx, o.Folder, job.Spec.Storage.S3)
		if err != nil {
			return nil, nil, fmt.Errorf("--checkpoint: %w", err)
		}
		st = other
	}
	loaded, err := checkpoint.Load(ctx, st, which, true)
	if errors.Is(err, checkpoint.ErrNoCheckpoint) {
		return nil, nil, exit.Errorf(contract.ExitConfig, "%s holds no checkpoint %q: train first, or name another folder or file", st.URI(""), which)
	}
	if err != nil {
		return nil, nil, err
	}
	return &weights{loaded.URI, loaded.Model, &loaded.Meta.Input}, resultOf(loaded.Name, loaded.Meta), nil
}

// findInput says what weights without a description are fed with: what the job's own model is, or the data set.
func findInput(ctx context.Context, job *v1.ResNetTrainingJob, st store.Store, cacheDir string) (*checkpoint.Input, error) {
	content, _, err := store.ReadAll(ctx, st, contract.ModelPrefix+"/"+export.CardFile)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		if card, err := export.DecodeCard(content); err == nil && sameJSON(card.Dataset, job.Spec.Dataset) {
			in := card.Input
			return &checkpoint.Input{Height: in.Height, Width: in.Width, Channels: len(in.Mean), Classes: card.Classes,
				Mean: convert[float32](in.Mean), Std: convert[float32](in.Std)}, nil
		}
	}
	r := newRun(job)
	if err := r.loadData(ctx, cacheDir); err != nil {
		return nil, err
	}
	return new(inputOf(r.data)), nil
}

func exportedModel(spec v1.ModelSpec, state checkpoint.StateDict, in checkpoint.Input) (*export.Model, error) {
	metadata, err := modelMetadata(in)
	return &export.Model{
		Spec: spec, State: state, Classes: in.Classes, Height: in.Height, Width: in.Width,
		Mean: convert[float64](in.Mean), Std: convert[float64](in.Std), Metadata: metadata,
	}, err
}

func convert[To, From float32 | float64](values []From) []To {
	out := make([]To, len(values))
	for i, v := range values {
		out[i] = To(v)
	}
	return out
}

// sameJSON compares what was read from JSON with what was not: nil and empty are the same.
func sameJSON(a, b any) bool {
	var x, y any
	for _, pair := range []struct{ from, into any }{{a, &x}, {b, &y}} {
		encoded, err := json.Marshal(pair.from)
		if err != nil || json.Unmarshal(encoded, pair.into) != nil {
			return false
		}
	}
	return reflect.DeepEqual(x, y)
}

// exportModel writes the model of a run that is done into the job's folder, always as model.safetensors too.
func (r *run) exportModel(ctx context.Context) error {
	spec := r.job.Spec.Export
	if !slices.Contains(spec.Formats, v1.ExportSafetensors) {
		spec.Formats = append(slices.Clone(spec.Formats), v1.ExportSafetensors)
	}
	w, result, err := r.chosenWeights(ctx, spec)
	if err != nil {
		return err
	}
	m, err := exportedModel(r.job.Spec.Model, w, r.meta.Input)
	if err != nil {
		return err
	}
	return export.Write(m, spec, cardOf(r.job, result), func(name string, content []byte) error {
		return r.put(ctx, contract.ModelPrefix+"/"+name, content)
	})
}

// chosenWeights are those of the best checkpoint, or of now.
func (r *run) chosenWeights(ctx context.Context, spec v1.ExportSpec) (checkpoint.StateDict, *export.Result, error) {
	if spec.Weights == v1.WeightsBest {
		options := ExportOptions{Spec: spec}
		w, result, err := options.read(ctx, r.job, r.store)
		if err != nil {
			return nil, nil, err
		}
		return w.model, result, nil
	}
	state, err := r.tested().StateDict()
	return state, resultOf("", r.meta), err
}

func cardOf(job *v1.ResNetTrainingJob, result *export.Result) export.Card {
	version, commit := Version()
	return export.Card{
		Name: job.Namespace + "/" + job.Name, Dataset: job.Spec.Dataset, Training: job.Spec.Training, Result: result,
		Versions: map[string]string{"trainer": version, "libtorch": libtorch.Version()}, Commit: commit,
	}
}

func resultOf(name string, meta checkpoint.Meta) *export.Result {
	if len(meta.History) == 0 {
		return nil
	}
	last := meta.History[len(meta.History)-1]
	return &export.Result{Checkpoint: name, Epoch: meta.Epoch, Step: meta.Step, Accuracy: last.Accuracy, TestLoss: last.TestLoss}
}

// Version of the trainer as the Go tool stamped it, and the commit it was built from if that is known.
func Version() (version, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown", ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return info.Main.Version, commit
}
