package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
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
	state, result, err := opts.read(ctx, job, st)
	if err != nil {
		return err
	}
	m := &export.Model{Spec: job.Spec.Model, State: state}
	if err := describeInput(ctx, job, st, opts.CacheDir, m); err != nil {
		return err
	}
	if err := m.Check(); err != nil {
		return exit.Errorf(contract.ExitConfig, "the weights do not fit spec.model: %w", err)
	}
	return export.Write(m, opts.Spec, cardOf(job, result), put)
}

// read returns the weights, and what they reached if that is known.
func (o *ExportOptions) read(ctx context.Context, job *v1.ResNetTrainingJob, st store.Store) (checkpoint.StateDict, *export.Result, error) {
	if o.ModelFile != "" {
		state, err := weightsOfFile(o.ModelFile)
		return state, nil, err
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
	return loaded.Model, resultOf(loaded.Name, loaded.Meta), nil
}

// weightsOfFile reads a .safetensors, .pt or .pth file on this machine.
func weightsOfFile(name string) (checkpoint.StateDict, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "%w", err)
	}
	state, err := export.ReadWeights(data)
	if err != nil {
		return nil, exit.Errorf(contract.ExitData, "%s: %w", name, err)
	}
	return state, nil
}

// describeInput fills in what the model is fed with and what it tells apart.
func describeInput(ctx context.Context, job *v1.ResNetTrainingJob, st store.Store, cacheDir string, m *export.Model) error {
	content, _, err := store.ReadAll(ctx, st, contract.ModelPrefix+"/"+export.CardFile)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil {
		if card, err := export.DecodeCard(content); err == nil && sameJSON(card.Dataset, job.Spec.Dataset) {
			in := card.Input
			m.Mean, m.Std, m.Classes, m.Height, m.Width = in.Mean, in.Std, card.Classes, in.Height, in.Width
			return nil
		}
	}
	open := func(uri string) (store.Store, error) { return store.Open(ctx, uri, job.Spec.Storage.S3) }
	d, err := data.Load(ctx, job.Spec.Dataset, job.Spec.Training.Seed, open, cacheDir)
	if err != nil {
		return err
	}
	describeData(m, d)
	return nil
}

func describeData(m *export.Model, d *data.Dataset) {
	m.Classes, m.Height, m.Width = d.Classes, d.Train.H, d.Train.W
	for i := range d.Mean {
		m.Mean, m.Std = append(m.Mean, float64(d.Mean[i])), append(m.Std, float64(d.Std[i]))
	}
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
	m := &export.Model{Spec: r.job.Spec.Model}
	describeData(m, r.data)
	result := resultOf("", r.meta)
	var err error
	if spec.Weights == v1.WeightsBest {
		options := ExportOptions{Spec: spec}
		m.State, result, err = options.read(ctx, r.job, r.store)
	} else {
		m.State, err = r.model.StateDict()
	}
	if err != nil {
		return err
	}
	return export.Write(m, spec, cardOf(r.job, result), func(name string, content []byte) error {
		return r.put(ctx, contract.ModelPrefix+"/"+name, content)
	})
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
