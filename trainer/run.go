package trainer

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Options are the circumstances of a run. What decides the numbers is in the job.
type Options struct {
	// Attempt is the number of this attempt; 0 means one more than the last one that the storage knows.
	Attempt int32
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
	// Log receives the log, which is also saved beside the results.
	Log io.Writer
	// Progress is kept up to date.
	Progress *progress.Tracker

	// For tests: narrow networks, and a place to stop.
	widths []int64
	onStep func(step int64)
}

func (o Options) networkWidths(spec v1.ModelSpec) []int64 {
	if o.widths != nil {
		return o.widths
	}
	widths := slices.Clone(resnet.Widths18)
	for i, width := range widths {
		widths[i] = 8 * max(1, int64(math.Round(float64(width)*cmp.Or(spec.WidthMultiplier, 1)/8)))
	}
	return widths
}

// run is a training run under way.
type run struct {
	job        *v1.ResNetTrainingJob
	spec       v1.TrainingSpec
	log        *slog.Logger
	progress   *progress.Tracker
	store      store.Store // the job's folder
	data       *data.Dataset
	loader     *data.Loader
	device     libtorch.Device
	bf16       bool
	model      *resnet.ResNet
	paramNames []string
	optimizer  *libtorch.AdamW
	schedule   oneCycle
	losses     *losses
	attempt    int32
	saver      *checkpoint.Saver
	files      *store.Background // what nobody waits for, in the job's folder

	// meta is how far the run has come.
	meta   checkpoint.Meta
	speed  speed
	onStep func(step int64)
}

// Run trains until all epochs are done, or ctx is cancelled. It resumes from the newest checkpoint of the job.
//
// Results lie in the job's folder (see package contract): a checkpoint and a line of metrics for every epoch, the log,
// and at the end the model. The exit code of the error (see package exit) says what kind it is; after a cancelled ctx
// it is 75, and the checkpoint that was saved holds every step done.
func Run(ctx context.Context, job *v1.ResNetTrainingJob, opts Options) (_ *contract.Artifacts, err error) {
	runtime.LockOSThread() // OpenMP has a pool of threads for every OS thread that computes
	defer runtime.UnlockOSThread()

	r := &run{job: job, spec: job.Spec.Training, progress: opts.Progress, onStep: opts.onStep}
	r.store, err = openJob(ctx, job)
	if err != nil {
		return nil, err
	}
	checkpoints, err := checkpoint.Open(ctx, r.store, job, opts.Attempt)
	if err != nil {
		return nil, err
	}
	r.attempt, r.files = checkpoints.Attempt(), store.NewBackground(r.store)
	r.saver = checkpoint.NewSaver(checkpoints, job.Spec.Checkpoint, r.committed)
	closeLog := r.openLog(ctx, opts.Log)
	defer func() { closeLog(err) }()

	if err := r.loadData(ctx, opts.CacheDir); err != nil {
		return nil, err
	}
	if err := r.build(opts.networkWidths(job.Spec.Model)); err != nil {
		return nil, err
	}
	if err := r.resume(ctx, checkpoints); err != nil {
		return nil, err
	}
	r.begin()
	for r.meta.Epoch < r.spec.Epochs {
		if err := r.epoch(ctx); err != nil {
			return nil, r.stop(ctx, err)
		}
	}
	return r.finish(ctx)
}

// epoch trains for one epoch, tests, and saves.
func (r *run) epoch(ctx context.Context) error {
	start := time.Now()
	trained, err := r.trainEpoch(ctx)
	if err != nil {
		return err
	}
	tested, err := r.evaluate(ctx)
	if err != nil {
		return err
	}
	r.record(trained, tested, time.Since(start))
	if err := r.saveMetrics(); err != nil {
		return err
	}
	return r.saveEpoch(ctx)
}

// build makes the network, its optimiser and its schedule.
func (r *run) build(widths []int64) (err error) {
	if err := r.check(); err != nil {
		return err
	}
	r.device, r.bf16, err = r.chooseDevice()
	if err != nil {
		return err
	}
	r.model, err = resnet.New(r.data.Train.C, len(r.data.Classes), widths, r.spec.Seed, r.device)
	if err != nil {
		return err
	}
	var params []libtorch.Tensor
	r.paramNames, params = r.model.Parameters()
	o := r.spec.Optimizer
	r.optimizer, err = libtorch.NewAdamW(params, o.Betas[1], o.Eps, *o.WeightDecay)
	if err != nil {
		return err
	}
	r.loader, err = data.NewLoader(r.data, int(r.spec.BatchSize), r.spec.Augmentation, r.spec.Seed)
	if err != nil {
		return err
	}
	r.schedule = newOneCycle(r.spec.Schedule, r.steps())
	r.losses, err = newLosses(r.device)
	return err
}

// steps of the whole run.
func (r *run) steps() int64 { return int64(r.spec.Epochs) * int64(r.loader.StepsPerEpoch()) }

func (r *run) loadData(ctx context.Context, cacheDir string) (err error) {
	open := func(uri string) (store.Store, error) { return store.Open(ctx, uri, r.job.Spec.Storage.S3) }
	r.data, err = data.Load(ctx, r.job.Spec.Dataset, r.spec.Seed, open, cacheDir)
	return err
}

// openJob opens the job's folder in its storage.
func openJob(ctx context.Context, job *v1.ResNetTrainingJob) (store.Store, error) {
	st, err := store.Open(ctx, job.Spec.Storage.URI, job.Spec.Storage.S3)
	if err != nil {
		return nil, err
	}
	return store.Sub(st, contract.JobPrefix(job.Namespace, job.Name, string(job.UID))), nil
}
