package trainer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
	"github.com/resnet-operator/resnet-operator/trainer/version"
)

// ExportOptions are the circumstances of an export.
type ExportOptions struct {
	// Weights; a Checkpoint of "" is what Spec.Weights says.
	Weights
	// Spec says in which formats.
	Spec v1.ExportSpec
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
	// Log is told what an int8 model leaves in float; nil tells nobody.
	Log *slog.Logger
}

// Export writes trained weights of a job as files, each by a call of put, the model card last. It changes nothing in
// the job's folder. The card that the job left there says what the data looks like; without one the data is read, and for
// the calibration of an int8 model too.
//
// Errors: exit code 64 if there are no such weights or they do not fit the job, 65 if their file is damaged, and those
// of packages data and store.
func Export(ctx context.Context, job *v1.ResNetTrainingJob, opts ExportOptions,
	put func(name string, content []byte) error) error {
	if opts.Checkpoint == "" {
		opts.Checkpoint = exportedCheckpoint(opts.Spec)
	}
	w, err := loadWeights(ctx, job, opts.Weights)
	if err != nil {
		return err
	}
	var d *data.Dataset
	if quantizes(opts.Spec) && w.ranges == nil {
		if d, err = loadData(ctx, job, opts.CacheDir); err != nil {
			return fmt.Errorf("the calibration of %s needs training images: %w", export.ONNXInt8File, err)
		}
	}
	if w.input == nil {
		if w.input, err = findInput(ctx, job, opts.CacheDir); err != nil {
			return err
		}
	}
	m, err := exportedModel(job.Spec.Model, w, *w.input)
	if err != nil {
		return err
	}
	if err := m.Check(); err != nil {
		return exit.Errorf(contract.ExitConfig, "the weights do not fit spec.model: %w", err)
	}
	if d != nil {
		runtime.LockOSThread() // as Run
		defer runtime.UnlockOSThread()
		if m.Calibration, err = calibrate(ctx, job, opts.Spec, w, d); err != nil {
			return err
		}
	}
	return writeModel(m, quantizedAsTrained(opts.Spec, job), cardOf(job, w.result), cmp.Or(opts.Log, slog.New(slog.DiscardHandler)), put)
}

// writeModel writes the files of a model, and into the log what its int8 graph leaves in float.
func writeModel(m *export.Model, spec v1.ExportSpec, card export.Card, log *slog.Logger,
	put func(name string, content []byte) error) error {
	written, err := export.Write(m, spec, card, put)
	if err != nil {
		return err
	}
	if q := written.Files[export.ONNXInt8File].Quantization; q != nil {
		log.Info("quantised the model", "file", export.ONNXInt8File, "method", q.Method, "calibrationImages", q.CalibrationImages,
			"inFloat", cmp.Or(strings.Join(q.Float, "; "), "nothing"))
	}
	return nil
}

// exportedCheckpoint is the one that the job exports.
func exportedCheckpoint(spec v1.ExportSpec) string {
	if spec.Weights == v1.WeightsBest {
		return checkpoint.Best
	}
	return checkpoint.Latest
}

// findInput says what weights without a description are fed with: what the job's own model is, or the data set.
func findInput(ctx context.Context, job *v1.ResNetTrainingJob, cacheDir string) (*checkpoint.Input, error) {
	st, err := openJob(ctx, job)
	if err != nil {
		return nil, err
	}
	content, _, err := store.ReadAll(ctx, st, contract.ModelPrefix+"/"+export.CardFile)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		card, err := export.DecodeCard(content)
		if err == nil && sameJSON(publicDataset(card.Dataset), publicDataset(job.Spec.Dataset)) {
			in := card.Input
			return &checkpoint.Input{Height: in.Height, Width: in.Width, Channels: len(in.Mean), Classes: card.Classes,
				Resize: in.Resize, Mean: convert[float32](in.Mean), Std: convert[float32](in.Std)}, nil
		}
	}
	d, err := loadData(ctx, job, cacheDir)
	if err != nil {
		return nil, err
	}
	return new(inputOf(d)), nil
}

func exportedModel(spec v1.ModelSpec, w *weights, in checkpoint.Input) (*export.Model, error) {
	metadata, err := modelMetadata(in, w.ranges)
	m := &export.Model{
		Spec: spec, State: w.model, Classes: in.Classes, Height: in.Height, Width: in.Width,
		Resize: in.Resize, Mean: convert[float64](in.Mean), Std: convert[float64](in.Std), Metadata: metadata,
	}
	if w.ranges != nil {
		m.Calibration = &quant.Calibration{Ranges: w.ranges}
	}
	return m, err
}

// quantizedAsTrained is an export whose int8 model has weights in the range that a job was trained with.
func quantizedAsTrained(spec v1.ExportSpec, job *v1.ResNetTrainingJob) v1.ExportSpec {
	if q := job.Spec.Training.Quantization; q != nil {
		spec.ReduceRange = spec.ReduceRange || q.ReduceRange
	}
	return spec
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
	w, err := r.chosenWeights(ctx, spec)
	if err != nil {
		return err
	}
	m, err := exportedModel(r.job.Spec.Model, w, *w.input)
	if err != nil {
		return err
	}
	if quantizes(spec) && w.ranges == nil {
		if m.Calibration, err = calibrate(ctx, r.job, spec, w, r.data); err != nil {
			return err
		}
	}
	return writeModel(m, quantizedAsTrained(spec, r.job), cardOf(r.job, w.result), r.log, func(name string, content []byte) error {
		return store.WriteAll(ctx, r.store, contract.ModelPrefix+"/"+name, content)
	})
}

// chosenWeights are those of the best checkpoint, or of now, also if the best checkpoint was lost.
func (r *run) chosenWeights(ctx context.Context, spec v1.ExportSpec) (*weights, error) {
	if spec.Weights == v1.WeightsBest {
		w, err := readCheckpoint(ctx, r.store, checkpoint.Best)
		switch {
		case err == nil:
			return w, nil
		case !exit.Code(err).Permanent():
			return nil, err
		}
		r.log.Warn("the best checkpoint cannot be read: the weights of the end are exported in its place",
			"error", err)
	}
	w := &weights{input: &r.state.Input, result: resultOf("", r.state.Meta)}
	var err error
	if w.model, err = r.state.Tested().StateDict(); err != nil {
		return nil, err
	}
	w.ranges, err = r.state.Ranges()
	return w, err
}

func cardOf(job *v1.ResNetTrainingJob, result *export.Result) export.Card {
	return export.Card{
		Name: job.Namespace + "/" + job.Name, Dataset: publicDataset(job.Spec.Dataset), Training: job.Spec.Training,
		Result:   result,
		Versions: map[string]string{"trainer": version.String(), "libtorch": libtorch.Version()},
		Commit:   version.Commit(),
	}
}

// publicDataset is without the signature of a signed URL.
func publicDataset(spec v1.DatasetSpec) v1.DatasetSpec {
	spec.URI = uri.Public(spec.URI)
	return spec
}

func resultOf(name string, meta checkpoint.Meta) *export.Result {
	if len(meta.History) == 0 {
		return nil
	}
	last := meta.History[len(meta.History)-1] // of an epoch that was not tested nothing is known
	return &export.Result{Checkpoint: name, Epoch: meta.Epoch, Step: meta.Step, Accuracy: last.Accuracy,
		TestLoss: last.TestLoss, Int8Accuracy: last.Int8Accuracy, Int8Agreement: last.Int8Agreement}
}
