package trainer

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

// results is what a run leaves beside its model: metrics while it goes on, and a report at its end.
type results struct {
	start  time.Time
	events *report.Events

	// lossSum and counted are those of the current epoch at the last point of the curve of steps.
	lossSum float64
	counted int

	// reported is when the last report was made, reportTook for how long.
	reported   time.Time
	reportTook time.Duration
}

// openResults begins the event file with the epochs of earlier attempts.
func (r *run) openResults(now time.Time) {
	r.results = results{start: now, events: report.NewEvents(now), lossSum: r.meta.LossSum, counted: r.meta.Counted}
	r.results.events.History(r.meta.History, now)
}

// eventSteps is the number of steps whose mean loss is one point of a curve.
const eventSteps = 20

// recordSteps enters the mean loss of the steps since the last point, if there are at least so many, and the learning
// rate of the last one. Losses that are still on the device wait for the next time.
func (r *run) recordSteps(least int) {
	counted := r.meta.Counted
	n := counted - r.results.counted
	if n < least {
		return
	}
	now := time.Now()
	lr, _ := r.schedule(r.meta.Step - 1)
	r.results.events.Scalar("step/loss", r.meta.Step, now, (r.meta.LossSum-r.results.lossSum)/float64(n))
	r.results.events.Scalar("step/lr", r.meta.Step, now, lr)
	r.results.lossSum, r.results.counted = r.meta.LossSum, counted
}

// metricFiles are the metrics so far, those of earlier attempts included, in all formats.
func (r *run) metricFiles() (map[string][]byte, error) {
	lines, err := report.JSONLines(r.meta.History)
	if err != nil {
		return nil, err
	}
	table, err := report.CSV(r.meta.History)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		contract.MetricsKey(r.attempt):                 lines,
		contract.MetricsCSVKey(r.attempt):              table,
		contract.EventsKey(r.attempt, r.results.start): r.results.events.Bytes(),
	}, nil
}

// saveMetrics writes the metrics in the background.
func (r *run) saveMetrics() error {
	files, err := r.metricFiles()
	for key, content := range files {
		r.files.Put(key, content)
	}
	return err
}

// saveLastMetrics writes the metrics, and returns when they are written.
func (r *run) saveLastMetrics(ctx context.Context) error {
	if err := r.saveMetrics(); err != nil {
		return err
	}
	return r.files.Flush(ctx)
}

// reportSoFar writes the report of a run that goes on, in the background and without pictures beside it, unless reports
// would take more than 1 % of the time.
func (r *run) reportSoFar() error {
	begin := time.Now()
	if begin.Sub(r.results.reported) < 100*r.results.reportTook {
		return nil
	}
	err := r.putReport(report.StateTraining, nil)
	r.results.reported, r.results.reportTook = time.Now(), time.Since(begin)
	return err
}

// putReport writes the report of a run that is not done, in the background; cause, if it is not nil, is why it ended.
func (r *run) putReport(state report.State, cause error) error {
	rep := r.newReport(r.lastTest, r.artifacts())
	rep.Artifacts.Model = ""
	if rep.Training.State = state; cause != nil {
		rep.Training.Error = cause.Error()
	}
	files, err := r.reportFiles(rep)
	for key, content := range files {
		r.files.Put(key, content)
	}
	return err
}

func (r *run) warnOfPicture(err error) {
	r.log.Warn("a picture of the report could not be drawn", "error", err)
}

// reportFiles are the page and what it says in JSON.
func (r *run) reportFiles(rep *report.Report) (map[string][]byte, error) {
	page, err := rep.HTML(r.warnOfPicture)
	if err != nil {
		return nil, err
	}
	data, err := rep.JSON()
	return map[string][]byte{contract.ReportKey: page, contract.ReportJSONKey: data}, err
}

// saveReport writes the report of a run that is done. A picture that cannot be drawn is left out.
func (r *run) saveReport(ctx context.Context, artifacts contract.Artifacts) error {
	rep := r.newReport(r.lastTest, artifacts)
	rep.Training.State = report.StateDone
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
	return r.putAll(ctx, files)
}

func (r *run) putAll(ctx context.Context, files map[string][]byte) error {
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if err := r.put(ctx, key, files[key]); err != nil {
			return err
		}
	}
	return nil
}

// newReport gathers what a report says. e may be nil.
func (r *run) newReport(e *Evaluation, artifacts contract.Artifacts) *report.Report {
	d := r.data
	rep := &report.Report{
		Job:      report.Job{Namespace: r.job.Namespace, Name: r.job.Name, UID: string(r.job.UID)},
		Created:  time.Now().UTC().Truncate(time.Second),
		Versions: report.Versions{Trainer: Version(), Libtorch: libtorch.Version(), Go: runtime.Version()},
		Hardware: report.Hardware{Device: r.device.String(), DeviceName: deviceName(r.device), Precision: precisionName(r.dtype)},
		Model:    report.Model{Parameters: r.parameterCount()},
		Data: report.Data{Name: d.Name, Classes: d.Classes, Train: d.Train.N, Validation: d.Validation.N, Test: d.Test.N,
			Height: d.Train.H, Width: d.Train.W, Channels: d.Train.C},
		Training:  report.Training{Attempts: r.attempt, BestEpoch: r.meta.BestEpoch},
		History:   r.meta.History,
		Artifacts: artifacts,
		Spec:      r.job.Spec,
	}
	if r.device == libtorch.CPU {
		rep.Hardware.Threads = libtorch.Threads()
	}
	if e != nil {
		rep.Evaluation = &report.Evaluation{Weights: e.Weights, Images: e.Images, Loss: e.Loss, Accuracy: e.Top1,
			Top5Accuracy: e.Top5, FlipTTAAccuracy: e.FlipTTA, Confusion: e.Confusion}
	}
	rep.Complete()
	return rep
}

func (r *run) parameterCount() (n int64) {
	_, params := r.model.Parameters()
	for _, p := range params {
		size := int64(1)
		for _, d := range p.Shape() {
			size *= d
		}
		n += size
	}
	return n
}

// deviceName is what the maker calls the processor or GPU; "" if Linux does not tell.
func deviceName(d libtorch.Device) string {
	pattern, key := "/proc/cpuinfo", "model name"
	if d != libtorch.CPU {
		pattern, key = "/proc/driver/nvidia/gpus/*/information", "Model"
	}
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
				return strings.TrimSpace(value)
			}
		}
	}
	return ""
}
