package trainer

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/record"
	"github.com/resnet-operator/resnet-operator/trainer/step"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Options are the circumstances of a run. What decides the numbers is in the job.
type Options struct {
	// Attempt is the number of this attempt; 0 means one more than the last one that the storage knows.
	Attempt int32
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
	// Handler shows the log, which is also saved beside the results.
	Handler slog.Handler
	// Progress is kept up to date by rank 0, and says of another node only whether it trains; nil where nobody can ask.
	Progress *progress.Tracker
	// Place is that of this process among those that train together; nil if it is the only one.
	Place *group.Place

	onStep func(step int64) // for tests: a place to stop
}

// run is an attempt under way.
type run struct {
	*training
	step   step.Step
	store  store.Store // the job's folder; nil above rank 0
	saver  saver
	rec    recorder
	log    *slog.Logger
	tested bool // after the last epoch
	onStep func(step int64)
}

// Run trains until all epochs are done, or ctx is cancelled. It resumes from the newest checkpoint of the job.
//
// Results lie in the job's folder (see package contract): a checkpoint and a line of metrics for every epoch, the log,
// and at the end the model. The exit code of the error (see package exit) says what kind it is; after a cancelled ctx
// it is 75, and the checkpoint that was saved holds every step done. In a group all this is for rank 0 to do; the other
// ranks return no artifacts.
func Run(ctx context.Context, job *v1.ResNetTrainingJob, opts Options) (_ *contract.Artifacts, err error) {
	runtime.LockOSThread() // OpenMP has a pool of threads for every OS thread that computes
	defer runtime.UnlockOSThread()

	r := &run{onStep: opts.onStep}
	var g *group.Group
	ctx = r.beginLog(ctx, job, opts)
	defer func() {
		err = g.Explain(err)
		ctx, cancel := grace(ctx)
		defer cancel()
		r.rec.Close(ctx, err)
		g.Close(ctx, err)
		if g == nil {
			opts.Place.Close()
		}
	}()
	checkpoints, err := r.open(ctx, job, opts)
	if err != nil {
		return nil, err
	}
	if g, err = r.join(ctx, job, opts, checkpoints); err != nil {
		return nil, err
	}
	ctx = g.Context(ctx)
	found, err := agree(g, job, opts, checkpoints)
	if err != nil {
		return nil, err
	}
	if r.training, err = prepare(ctx, job, found, opts.CacheDir); err != nil {
		return nil, err
	}
	if err := r.divide(g); err != nil {
		return nil, err
	}
	if r.step, err = step.New(r.state, r.inputs()); err != nil {
		return nil, err
	}
	if err := r.resume(ctx, checkpoints); err != nil {
		return nil, err
	}
	r.rec.Begin(r.state, r.inputs())
	ctx = r.group.Agree(ctx)
	if err := r.train(ctx); err != nil {
		return nil, r.stop(ctx, err)
	}
	return r.finish(ctx)
}

// train makes the epochs that are left. If ctx is cancelled it finishes the step under way.
func (r *run) train(ctx context.Context) error {
	st, plan := r.state, r.plan
	for st.Epoch < plan.Epochs && !r.stopsEarly() {
		plan.Follow(st.History)
		r.rec.BeginEpoch()
		for batch := range r.step.Batches(ctx, st.Epoch, st.StepInEpoch) {
			if err := r.step.Do(batch, plan.At(st.Step)); err != nil {
				return err
			}
			st.Advance()
			if err := r.recordStep(); err != nil {
				return err
			}
			if ctx.Err() != nil {
				break
			}
			if err := r.saver.Step(ctx, r.snapshot); err != nil {
				return err
			}
		}
		if err := r.loader.Err(); err != nil {
			return err
		}
		if err := r.endEpoch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// endEpoch tests the network, if that is due, enters the epoch into the history, and saves.
func (r *run) endEpoch(ctx context.Context) error {
	if err := r.read(true); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	metrics, err := r.rec.Trained(r.state)
	if err != nil {
		return err
	}
	if r.plan.Tests(r.state.Epoch + 1) {
		if err := r.test(ctx, &metrics); err != nil {
			return err
		}
	}
	metrics.MemoryBytes, metrics.Seconds = record.PeakMemory(r.device), r.rec.EpochSeconds()
	r.state.EndEpoch(metrics)
	if err := r.compareWeights(); err != nil {
		return err
	}
	if err := r.rec.Epoch(r.state); err != nil {
		return err
	}
	if !r.state.Due(r.plan.SaveEvery) {
		return nil
	}
	return r.saver.Save(ctx, r.snapshot, r.isBest())
}

// recordStep tells of the step that was made last.
func (r *run) recordStep() error {
	if r.onStep != nil {
		r.onStep(r.state.Step)
	}
	if err := r.read(r.rec.NeedsNumbers()); err != nil {
		return err
	}
	r.rec.Step(r.state)
	return nil
}

// read adds the numbers of the steps to the state; with wait, of all steps made.
func (r *run) read(wait bool) error { return readNumbers(r.state, r.step, wait) }

// snapshot of the state after the last step.
func (r *run) snapshot() (checkpoint.Snapshot, error) {
	if err := r.read(true); err != nil {
		return checkpoint.Snapshot{}, err
	}
	return r.state.Snapshot()
}

// isBest reports whether the state, if it is that after an epoch, is the best so far.
func (r *run) isBest() bool { return r.state.IsBest(r.plan.SaveEvery, false) }

// stopsEarly reports whether training has stopped to improve.
func (r *run) stopsEarly() bool {
	if r.state.StepInEpoch > 0 {
		return false
	}
	stops, epochs := r.plan.Stops(r.state.History)
	if stops {
		r.log.Info("stopping early: the validation set no longer improves", "metric", r.plan.EarlyStopping.Metric,
			"epoch", r.state.Epoch, "epochsWithoutImprovement", epochs, "patience", r.plan.EarlyStopping.Patience)
	}
	return stops
}
