package trainer

import (
	"context"
	"errors"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
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
		return err
	}
	r.setPhase(contract.PhaseSaving)
	if err := r.saveNow(ctx); err != nil {
		return err
	}
	return exit.Errorf(contract.ExitStopped, "stopped after step %d of %d and saved; the next attempt goes on from there", r.meta.Step, r.steps())
}

// saveNow saves the present state, if that was not done yet, and waits until it is complete.
func (r *run) saveNow(ctx context.Context) error {
	if !r.saver.Has(r.meta) {
		if err := r.saver.SaveNow(ctx, r.snapshot, r.isBest()); err != nil {
			return err
		}
	}
	return r.saver.Flush(ctx)
}

// finish saves the model, once its last checkpoint is complete.
func (r *run) finish(ctx context.Context) (*contract.Artifacts, error) {
	r.setPhase(contract.PhaseSaving)
	ctx, cancel := grace(ctx)
	defer cancel()
	if err := r.saveNow(ctx); err != nil {
		return nil, err
	}
	state, err := r.model.StateDict()
	if err != nil {
		return nil, err
	}
	model, err := checkpoint.EncodeSafetensors(state, map[string]string{"format": "pt"})
	if err != nil {
		return nil, err
	}
	if err := r.put(ctx, contract.ModelKey, model); err != nil {
		return nil, err
	}
	if err := r.saveMetrics(); err != nil {
		return nil, err
	}
	if err := r.files.Flush(ctx); err != nil {
		return nil, err
	}
	r.setPhase(contract.PhaseDone)
	return &contract.Artifacts{
		Root:    r.store.URI(""),
		Model:   r.store.URI(contract.ModelKey),
		Metrics: r.store.URI(contract.MetricsKey(r.attempt)),
	}, nil
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
