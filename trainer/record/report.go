package record

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/report"
	"github.com/resnet-operator/resnet-operator/trainer/state"
	"github.com/resnet-operator/resnet-operator/trainer/version"
)

// reportSoFar writes the report of a run that goes on, in the background and without pictures beside it, unless reports
// would take more than 1 % of the time.
func (r *Recorder) reportSoFar(st *state.State) error {
	begin := time.Now()
	if begin.Sub(r.reported) < 100*r.reportTook {
		return nil
	}
	err := r.putReport(st, report.StateTraining, nil)
	r.reported, r.reportTook = time.Now(), time.Since(begin)
	return err
}

// EndEarly writes metrics and report of a run that ends early because of cause.
func (r *Recorder) EndEarly(ctx context.Context, st *state.State, cause error) {
	failed := r.putReport(st, report.StateStopped, cause)
	if err := errors.Join(failed, r.SaveMetrics(ctx, st)); err != nil {
		r.Log.Warn("metrics or report not saved", "error", err)
	}
}

// putReport writes the report of a run that is not done, in the background; cause, if it is not nil, is why it ended.
func (r *Recorder) putReport(st *state.State, now report.State, cause error) error {
	rep := r.newReport(st, now)
	rep.Artifacts.Model = ""
	if cause != nil {
		rep.Training.Error = cause.Error()
		rep.Training.Diverged = exit.Code(cause) == contract.ExitDiverged
	}
	files, err := r.reportFiles(rep)
	for key, content := range files {
		r.files.Put(key, content)
	}
	return err
}

func (r *Recorder) warnOfPicture(err error) {
	r.Log.Warn("a picture of the report could not be drawn", "error", err)
}

// reportFiles are the page, what it says in JSON, and the images that both show.
func (r *Recorder) reportFiles(rep *report.Report) (map[string][]byte, error) {
	page, err := rep.HTML(r.warnOfPicture)
	if err != nil {
		return nil, err
	}
	data, err := rep.JSON()
	files := map[string][]byte{contract.ReportKey: page, contract.ReportJSONKey: data}
	if g := rep.Images; g != nil {
		files[contract.ReportPrefix+"/"+g.Sheet] = g.Picture()
	}
	return files, err
}

// SaveReport writes the report of a run that is done. A picture that cannot be drawn is left out.
func (r *Recorder) SaveReport(ctx context.Context, st *state.State) error {
	rep := r.newReport(st, report.StateDone)
	files, err := r.reportFiles(rep)
	if err != nil {
		return err
	}
	for _, p := range rep.Pictures() {
		for ext, encode := range map[string]func() ([]byte, error){".png": p.PNG, ".svg": p.SVG} {
			picture, err := encode()
			if err != nil {
				r.warnOfPicture(err)
				continue
			}
			files[contract.ReportPrefix+"/"+p.Name+ext] = picture
		}
	}
	if err := r.putAll(ctx, files); err != nil {
		return err
	}
	r.mlflow.Tags(map[string]string{"resnet-operator.model": rep.Artifacts.Model})
	return nil
}

// Artifacts are what the attempt leaves in the end.
func (r *Recorder) Artifacts() contract.Artifacts {
	return contract.Artifacts{
		Root:    r.store.URI(""),
		Model:   r.store.URI(contract.ModelKey),
		Metrics: r.store.URI(contract.MetricsKey(r.attempt)),
		Report:  r.store.URI(contract.ReportKey),
	}
}

func (r *Recorder) putAll(ctx context.Context, files map[string][]byte) error {
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if err := r.put(ctx, key, files[key]); err != nil {
			return err
		}
	}
	return nil
}

// newReport gathers what a report says of a run in a state.
func (r *Recorder) newReport(st *state.State, now report.State) *report.Report {
	t, d, e := r.training, r.training.Data, r.lastTest
	rep := &report.Report{
		Job:      report.Job{Namespace: r.job.Namespace, Name: r.job.Name, UID: string(r.job.UID)},
		Created:  time.Now().UTC().Truncate(time.Second),
		Versions: report.Versions{Trainer: version.String(), Libtorch: libtorch.Version(), Go: runtime.Version()},
		Hardware: report.Hardware{Device: t.Device.String(), DeviceName: state.DeviceName(t.Device),
			Precision: state.PrecisionName(t.DType)},
		Model: report.Model{Parameters: parameterCount(st)},
		Data: report.Data{Name: d.Name, Classes: d.Classes,
			Train: d.Train.N, Validation: d.Validation.N, Test: d.Test.N,
			Height: d.Train.H, Width: d.Train.W, Channels: d.Train.C,
			Mean: float64s(d.Mean), Std: float64s(d.Std)},
		Training:  report.Training{Attempts: r.attempt, State: now, BestEpoch: st.BestEpoch},
		History:   st.History,
		Steps:     slices.Clone(st.Curve.Points),
		Schedule:  scheduleOf(t.Plan),
		Images:    r.gallery(),
		Artifacts: r.Artifacts(),
		Spec:      r.job.Spec,
	}
	if t.Device == libtorch.CPU {
		rep.Hardware.Threads = libtorch.Threads()
	}
	if e != nil {
		rep.Evaluation = &report.Evaluation{Weights: e.Weights, Images: e.Images, Loss: e.Loss, Accuracy: e.Top1,
			Top5Accuracy: e.Top5, FlipTTAAccuracy: e.FlipTTA, Confusion: e.Confusion}
	}
	rep.Complete()
	return rep
}

// gallery of the images that the report shows; nil, and a warning, if it cannot be made.
func (r *Recorder) gallery() *report.Gallery {
	g, err := r.newGallery()
	if err != nil {
		r.warnOfPicture(err)
	}
	return g
}

func (r *Recorder) newGallery() (*report.Gallery, error) {
	if r.augmented.N == 0 { // they are the same for every report
		batch, err := r.training.Loader.Begin(report.AugmentedTiles)
		if err != nil {
			return nil, err
		}
		r.augmented = batch
	}
	batch := r.augmented
	train, test := &r.training.Data.Train, &r.training.Data.Test
	augmented := data.Images{N: batch.N, H: train.H, W: train.W, C: train.C, Pixels: batch.Pixels}
	photos := report.Photos{
		Augmented:       report.Pixels{H: train.H, W: train.W, C: train.C, At: augmented.At},
		AugmentedLabels: batch.Labels,
	}
	if e := r.lastTest; e != nil {
		photos.Test = report.Pixels{H: test.H, W: test.W, C: test.C, At: test.At}
		photos.Labels, photos.Predictions = test.Labels, e.Predictions
	}
	return report.NewGallery(photos)
}

// scheduleOf is the learning rate of a training at no more than so many of its steps.
func scheduleOf(plan *recipe.Plan) (points []report.SchedulePoint) {
	const most = 400
	n := min(plan.Steps(), most)
	for i := range n {
		step := plan.Steps() - 1
		if n > 1 {
			step = i * (plan.Steps() - 1) / (n - 1)
		}
		points = append(points, report.SchedulePoint{Step: step + 1, LR: plan.At(step).LR})
	}
	return points
}

func float64s(values []float32) []float64 {
	all := make([]float64, len(values))
	for i, v := range values {
		all[i] = float64(v)
	}
	return all
}

func parameterCount(st *state.State) (n int64) {
	for _, p := range st.Params.Tensors {
		size := int64(1)
		for _, d := range p.Shape() {
			size *= d
		}
		n += size
	}
	return n
}

// PeakMemory is the most memory so far, in bytes: that of the GPU, or what of the process was resident.
func PeakMemory(d libtorch.Device) int64 {
	if d == libtorch.CUDA {
		if memory, err := libtorch.DeviceMemory(); err == nil && memory.Peak > 0 {
			return memory.Peak
		}
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Maxrss << 10
}
