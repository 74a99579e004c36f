package trainer

import (
	"context"
	"errors"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
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
			r.rec.EndEarly(ctx, r.state, err)
		}
		return err
	}
	r.rec.Phase(contract.PhaseSaving)
	if err := r.saveNow(ctx, false); err != nil {
		return err
	}
	err = exit.Errorf(contract.ExitStopped,
		"stopped after step %d of %d and saved; the next attempt goes on from there", r.state.Step, r.plan.Steps())
	r.rec.EndEarly(ctx, r.state, err)
	return err
}

// saveNow saves the present state, if that was not done yet, and waits until it is complete. ended says that it is that
// of the end of the training.
func (r *run) saveNow(ctx context.Context, ended bool) error {
	if !r.saver.Has(r.state.Meta) {
		if err := r.saver.SaveNow(ctx, r.snapshot, r.state.IsBest(r.plan.SaveEvery, ended)); err != nil {
			return err
		}
	}
	return r.saver.Flush(ctx)
}

// finish writes the results, once the last checkpoint is complete: it names them in the order in which they appear, so
// that an attempt that dies here leaves everything to the next one, which resumes behind the last epoch.
func (r *run) finish(ctx context.Context) (*contract.Artifacts, error) {
	if !r.tested { // resumed behind the last epoch
		if err := r.test(ctx, &checkpoint.EpochMetrics{}); err != nil {
			return nil, err
		}
	}
	r.rec.Phase(contract.PhaseSaving)
	if err := r.group.Leave(ctx); err != nil || r.group.Rank() > 0 {
		return nil, err
	}
	ctx, cancel := grace(ctx)
	defer cancel()
	if err := r.saveNow(ctx, true); err != nil {
		return nil, err
	}
	if err := r.exportModel(ctx); err != nil {
		return nil, err
	}
	if err := r.rec.SaveMetrics(ctx, r.state); err != nil {
		return nil, err
	}
	if err := r.rec.SaveReport(ctx, r.state); err != nil {
		return nil, err
	}
	r.rec.Phase(contract.PhaseDone)
	return new(r.rec.Artifacts()), nil
}

// grace returns a context that ends gracePeriod after ctx.
func grace(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(gracePeriod, cancel) })
	return longer, func() { stop(); cancel() }
}
