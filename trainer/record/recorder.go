// Package record tells what happens in a training: to whoever watches, by progress and log, and in the job's folder, by
// metrics, log and report.
package record

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/eval"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/mlflow"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/report"
	"github.com/resnet-operator/resnet-operator/trainer/state"
	"github.com/resnet-operator/resnet-operator/trainer/step"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// Recorder of an attempt.
type Recorder struct {
	// Log is shown, and saved beside the results.
	Log *slog.Logger

	job      *v1.ResNetTrainingJob
	attempt  int32
	progress *progress.Tracker
	lastTest *eval.Evaluation  // what reports show; nil before the first one of this attempt
	store    store.Store       // the job's folder
	files    *store.Background // what nobody waits for, there
	lines    lockedBuffer      // of the log
	saved    slog.Handler      // writes them

	training step.Inputs
	start    time.Time
	events   *report.Events
	mlflow   *mlflow.Logger // nil without a server
	speed    speed
	waited   time.Duration // by the loader, before the current epoch
	// eventsEnd and curveEnd are where the last point of the events, and that of state.State.Curve, ends; the latter was
	// last shown to others at served.
	eventsEnd, curveEnd point
	served              time.Time
	// augmented is the beginning of the training, for reports.
	augmented data.Batch

	// reported is when the last report was made, reportTook for how long.
	reported   time.Time
	reportTook time.Duration
}

// New begins the log, which the handler shows, and returns a context that takes it, and what the run waits for, to the
// packages below.
func New(ctx context.Context, job *v1.ResNetTrainingJob, p *progress.Tracker, shown slog.Handler) (
	*Recorder, context.Context) {
	r := &Recorder{job: job, progress: p}
	r.saved = slog.NewTextHandler(&r.lines, &slog.HandlerOptions{Level: slog.LevelDebug})
	r.Log = slog.New(slog.NewMultiHandler(shown, r.saved))
	return r, telemetry.NewContext(ctx, r.Log, func(w *contract.Waiting) {
		p.Update(func(p *contract.Progress) { p.Waiting = w })
	})
}

// Open says that the job's folder belongs to an attempt, which records into it from now on.
//
// Errors: exit code 64 if the variables for MLflow are wrong.
func (r *Recorder) Open(ctx context.Context, st store.Store, attempt int32) (err error) {
	r.attempt, r.store, r.files = attempt, st, store.NewBackground(ctx, st)
	r.progress.Update(func(p *contract.Progress) { p.Attempt = attempt })
	r.mlflow, err = mlflow.Start(ctx, r.job.Namespace+"/"+r.job.Name, st.URI(""), r.Log)
	r.beginMLflow()
	return err
}

// Close saves the log, if the job's folder is ours. The caller shows err itself.
func (r *Recorder) Close(ctx context.Context, err error) {
	r.mlflow.Close(ctx, mlflowStatus(err))
	if err != nil {
		slog.New(r.saved).Error(err.Error())
	}
	if keep := r.job.Spec.KeepLogs; r.store == nil || keep != nil && !*keep {
		return
	}
	if err := r.put(ctx, contract.LogKey(r.attempt), r.lines.content()); err != nil {
		r.Log.Error("log not saved", "error", err)
	}
}

// Phase tells what the attempt does from now on.
func (r *Recorder) Phase(phase contract.Phase) {
	r.progress.Update(func(p *contract.Progress) { p.Phase = phase })
}

// Committed tells of a checkpoint that is complete. It may be called at any time.
func (r *Recorder) Committed(c contract.Checkpoint) {
	r.progress.Update(func(p *contract.Progress) { p.Checkpoint = &c })
}

// tellTested tells of the last test, and of the best one.
func tellTested(p *contract.Progress, st *state.State) {
	last := st.LastTested()
	if last == nil {
		return
	}
	p.Accuracy, p.BestAccuracy, p.Int8Accuracy = new(*last.Accuracy), new(st.BestAccuracy), last.Int8Accuracy
}

// Begin tells that everything is ready for the first step of the attempt.
func (r *Recorder) Begin(st *state.State, t step.Inputs) {
	r.training = t
	r.progress.Update(func(p *contract.Progress) {
		p.Epoch, p.Epochs, p.Step, p.Steps = st.Epoch, t.Plan.Epochs, st.Step, t.Plan.Steps()
		if n := len(st.History); n > 0 {
			p.Loss = &st.History[n-1].TrainLoss
			tellTested(p, st)
		}
		if st.Counted > 0 { // resumed inside of an epoch
			p.Loss = new(st.MeanLoss())
		}
	})
	r.beginMetrics(st, time.Now())
	r.Log.Info("training", "job", r.job.Name, "attempt", r.attempt, "data", t.Data.Name,
		"train", t.Data.Train.N, "test", t.Data.Test.N, "epochs", t.Plan.Epochs, "batch", t.Plan.BatchSize,
		"device", t.Device, "threads", libtorch.Threads(), "precision", state.PrecisionName(t.DType))
}

// BeginEpoch tells that the steps of an epoch begin.
func (r *Recorder) BeginEpoch() {
	r.Phase(contract.PhaseTraining)
	r.speed.startEpoch(time.Now())
	r.waited = r.training.Loader.Waited()
}

// NeedsNumbers says that it is time to wait for the numbers of all steps made: for a line of the log, or to know that
// the first step is done.
func (r *Recorder) NeedsNumbers() bool {
	return r.speed.reportDue(time.Now()) || r.progress.Snapshot().FirstStepTime == nil
}

// Step tells of a step.
func (r *Recorder) Step(st *state.State) {
	plan, now := r.training.Plan, time.Now()
	r.speed.step(int(plan.BatchSize))
	r.recordSteps(st, eventSteps)
	r.recordCurve(st, now)
	loss, speed, lr := st.MeanLoss(), r.speed.imagesPerSecond(now), plan.At(st.Step-1).LR
	r.progress.Update(func(p *contract.Progress) {
		p.Step, p.LR = st.Step, lr
		p.ETASeconds = r.speed.eta(now, plan.Steps()-st.Step).Seconds()
		if p.FirstStepTime == nil {
			p.FirstStepTime = &now
		}
		if st.Counted > 0 { // else no step of the epoch has been read from the device
			p.Loss = &loss
		}
		if len(st.History) == 0 {
			p.ImagesPerSecond = speed
		}
	})
	if r.speed.reportDue(now) {
		r.speed.reported = now
		r.Log.Debug(fmt.Sprintf("epoch %d/%d", st.Epoch+1, plan.Epochs),
			"step", fmt.Sprintf("%d/%d", st.StepInEpoch, plan.StepsPerEpoch),
			"loss", round(loss, 4), "lr", round(lr, 6), "images/s", round(speed, 1))
	}
}

// Tested tells what the network gives on the test images.
func (r *Recorder) Tested(e *eval.Evaluation) { r.lastTest = e }

// Trained tells that the steps of the epoch are done, and returns what is to be recorded of them.
func (r *Recorder) Trained(st *state.State) (checkpoint.EpochMetrics, error) {
	now, last := time.Now(), r.training.Plan.At(st.Step-1)
	r.recordSteps(st, 1)
	r.recordCurve(st, now)
	r.eventsEnd, r.curveEnd = point{}, point{}
	scale, err := st.LossScale()
	return checkpoint.EpochMetrics{
		Epoch: st.Epoch + 1, Step: st.Step,
		TrainLoss: st.MeanLoss(), GradNorm: st.MeanGradNorm(), LR: last.LR, Momentum: last.Momentum, LossScale: scale,
		ImagesPerSecond: r.speed.imagesPerSecond(now),
		DataWait:        min(1, float64(r.training.Loader.Waited()-r.waited)/float64(now.Sub(r.speed.epochStart))),
	}, err
}

// Epoch tells of the epoch that ended last, and saves metrics and report in the background.
func (r *Recorder) Epoch(st *state.State) error {
	m := st.History[len(st.History)-1]
	r.events.Epoch(m, time.Now())
	r.logEpoch(m)
	r.progress.Update(func(p *contract.Progress) {
		p.Epoch = st.Epoch
		p.Loss = &m.TrainLoss
		tellTested(p, st)
		p.ImagesPerSecond = m.ImagesPerSecond
	})
	r.serveHistory(st)
	line := []any{"loss", round(m.TrainLoss, 4)}
	if m.Tested() {
		line = append(line, "testLoss", round(*m.TestLoss, 4), "accuracy", round(*m.Accuracy, 4))
	}
	if m.Quantized() {
		line = append(line, "int8Accuracy", round(*m.Int8Accuracy, 4), "int8Agreement", round(*m.Int8Agreement, 4))
	}
	if m.ValidationAccuracy != nil {
		line = append(line, "validationLoss", round(*m.ValidationLoss, 4), "validationAccuracy",
			round(*m.ValidationAccuracy, 4))
	}
	r.Log.Info(fmt.Sprintf("epoch %d/%d done", st.Epoch, r.training.Plan.Epochs), append(line, "best", round(st.BestAccuracy, 4),
		"images/s", round(m.ImagesPerSecond, 1), "seconds", round(m.Seconds, 1))...)
	if err := r.saveMetrics(st); err != nil {
		return err
	}
	return r.reportSoFar(st)
}

// EpochSeconds is the time since BeginEpoch.
func (r *Recorder) EpochSeconds() float64 { return time.Since(r.speed.epochStart).Seconds() }

func (r *Recorder) put(ctx context.Context, key string, content []byte) error {
	return store.WriteAll(ctx, r.store, key, content)
}
