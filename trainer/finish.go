package trainer

import (
	"context"
	"errors"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/report"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// gracePeriod is how long saving may go on once a run was told to stop; the rest is for the last words.
const gracePeriod = contract.GracePeriod - 10*time.Second

// stop ends a run early. If it was told to stop, it saves every step done so far; the next attempt goes on from there.
func (r *run) stop(ctx context.Context, err error) error {
	stopped := errors.Is(err, context.Canceled)
	ctx, cancel := grace(ctx)
	defer cancel()
	if !stopped {
		ctx, cancel := context.WithTimeout(ctx, gracePeriod)
		defer cancel()
		if flushErr := r.saver.Flush(ctx); flushErr != nil {
			r.log.Error("last checkpoint not saved", "error", flushErr)
		}
		if exit.Code(err) == contract.ExitDiverged {
			r.lastWords(ctx, err)
		}
		return err
	}
	r.setPhase(contract.PhaseSaving)
	if err := r.saveNow(ctx, false); err != nil {
		return err
	}
	err = exit.Errorf(contract.ExitStopped, "stopped after step %d of %d and saved; the next attempt goes on from there", r.meta.Step, r.steps())
	r.lastWords(ctx, err)
	return err
}

// lastWords writes metrics and report of a run that ends early because of err.
func (r *run) lastWords(ctx context.Context, err error) {
	failed := r.putReport(report.StateStopped, err)
	if err := errors.Join(failed, r.saveLastMetrics(ctx)); err != nil {
		r.log.Warn("metrics or report not saved", "error", err)
	}
}

// saveNow saves the present state, if that was not done yet, and waits until it is complete. ended says that it is that
// of the end of the training.
func (r *run) saveNow(ctx context.Context, ended bool) error {
	if !r.saver.Has(r.meta) {
		if err := r.saver.SaveNow(ctx, r.snapshot, r.meta.IsBest(r.checkpointEvery(), ended)); err != nil {
			return err
		}
	}
	return r.saver.Flush(ctx)
}

// finish writes the results, once the last checkpoint is complete: it names them in the order in which they appear, so
// that an attempt that dies here leaves everything to the next one, which resumes behind the last epoch.
func (r *run) finish(ctx context.Context) (*contract.Artifacts, error) {
	if r.lastTest == nil { // resumed behind the last epoch
		if _, err := r.evaluate(ctx); err != nil {
			return nil, err
		}
	}
	r.setPhase(contract.PhaseSaving)
	ctx, cancel := grace(ctx)
	defer cancel()
	if err := r.saveNow(ctx, true); err != nil {
		return nil, err
	}
	if err := r.exportModel(ctx); err != nil {
		return nil, err
	}
	if err := r.saveLastMetrics(ctx); err != nil {
		return nil, err
	}
	artifacts := r.artifacts()
	if err := r.saveReport(ctx, artifacts); err != nil {
		return nil, err
	}
	r.setPhase(contract.PhaseDone)
	return &artifacts, nil
}

func (r *run) artifacts() contract.Artifacts {
	return contract.Artifacts{
		Root:    r.store.URI(""),
		Model:   r.store.URI(contract.ModelKey),
		Metrics: r.store.URI(contract.MetricsKey(r.attempt)),
		Report:  r.store.URI(contract.ReportKey),
	}
}

func (r *run) put(ctx context.Context, key string, content []byte) error {
	return store.WriteAll(ctx, r.store, key, content)
}

// grace returns a context that ends gracePeriod after ctx.
func grace(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(gracePeriod, cancel) })
	return longer, func() { stop(); cancel() }
}
