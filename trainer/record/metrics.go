package record

import (
	"context"
	"slices"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/history"
	"github.com/resnet-operator/resnet-operator/trainer/report"
	"github.com/resnet-operator/resnet-operator/trainer/state"
)

// beginMetrics begins the event file with the epochs of earlier attempts.
func (r *Recorder) beginMetrics(st *state.State, now time.Time) {
	r.start, r.events = now, report.NewEvents(now)
	r.eventsEnd, r.curveEnd = pointAt(st), pointAt(st)
	r.events.History(st.History, now)
	r.serveHistory(st)
}

// point is where a record of a curve ends: the sums of the epoch then. The zero value is the beginning of an epoch.
type point struct {
	counted              int
	lossSum, gradNormSum float64
}

func pointAt(st *state.State) point { return point{st.Counted, st.LossSum, st.GradNormSum} }

// until returns how many steps were counted from p to now, and their means.
func (p point) until(now point) (steps int, loss, gradNorm float64) {
	n := now.counted - p.counted
	return n, (now.lossSum - p.lossSum) / float64(n), (now.gradNormSum - p.gradNormSum) / float64(n)
}

// recordCurve enters the steps since the last record. Those that are still on the device wait for the next time.
func (r *Recorder) recordCurve(st *state.State, now time.Time) {
	n, loss, gradNorm := r.curveEnd.until(pointAt(st))
	if n == 0 {
		return
	}
	st.Curve.Add(contract.StepMetrics{Step: st.Step, Steps: int64(n), Loss: loss, GradNorm: gradNorm,
		LR: r.training.Plan.At(st.Step - 1).LR, ImagesPerSecond: r.speed.imagesPerSecond(now)})
	r.curveEnd = pointAt(st)
	if now.Sub(r.served) >= time.Second {
		r.serveHistory(st)
	}
}

// serveHistory lets whoever asks see the curves up to now.
func (r *Recorder) serveHistory(st *state.State) {
	r.served = time.Now()
	r.progress.SetHistory(slices.Clone(st.Curve.Points), history.Epochs(st.History))
}

// eventSteps is the number of steps whose mean loss is one point of a curve.
const eventSteps = 20

// recordSteps enters the mean loss of the steps since the last point, if there are at least so many, and the learning
// rate of the last one. Losses that are still on the device wait for the next time.
func (r *Recorder) recordSteps(st *state.State, least int) {
	n, loss, _ := r.eventsEnd.until(pointAt(st))
	if n < least {
		return
	}
	now := time.Now()
	for tag, v := range map[string]float64{
		"step/loss": loss, "step/lr": r.training.Plan.At(st.Step - 1).LR,
	} {
		r.events.Scalar(tag, st.Step, now, v)
		r.mlflow.Metric(tag, st.Step, now, v)
	}
	r.eventsEnd = pointAt(st)
}

// metricFiles are the metrics so far, those of earlier attempts included, in all formats.
func (r *Recorder) metricFiles(st *state.State) (map[string][]byte, error) {
	lines, err := report.JSONLines(st.History)
	if err != nil {
		return nil, err
	}
	table, err := report.CSV(st.History)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		contract.MetricsKey(r.attempt):         lines,
		contract.MetricsCSVKey(r.attempt):      table,
		contract.StepsKey(r.attempt):           st.Curve.JSONLines(),
		contract.EventsKey(r.attempt, r.start): r.events.Bytes(),
	}, nil
}

// saveMetrics writes the metrics in the background.
func (r *Recorder) saveMetrics(st *state.State) error {
	files, err := r.metricFiles(st)
	for key, content := range files {
		r.files.Put(key, content)
	}
	return err
}

// SaveMetrics writes the metrics, and returns when they are written.
func (r *Recorder) SaveMetrics(ctx context.Context, st *state.State) error {
	if err := r.saveMetrics(st); err != nil {
		return err
	}
	return r.files.Flush(ctx)
}
