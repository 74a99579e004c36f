package trainer

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
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
	// Progress is kept up to date.
	Progress *progress.Tracker

	onStep func(step int64) // for tests: a place to stop
}

// run is a training run under way.
type run struct {
	job      *v1.ResNetTrainingJob
	spec     v1.TrainingSpec
	recipe   recipe
	log      *slog.Logger
	progress *progress.Tracker
	store    store.Store // the job's folder
	data     *data.Dataset
	loader   *data.Loader

	device     libtorch.Device
	dtype      libtorch.DType // of convolutions and matrix products
	model      *resnet.ResNet
	ema        *resnet.ResNet // the average of model's weights; nil without spec.training.ema
	paramNames []string
	params     *libtorch.Parameters
	optimizer  libtorch.Optimizer
	scaler     *libtorch.GradScaler // nil unless in FP16
	schedule   schedule
	freezeAt   int64 // the step at which TinyBatchNorm freezes; -1 for never
	numbers    *numbers
	gpu        *gpuSteps // nil unless there are kernels of our own for the device

	attempt int32
	found   *checkpoint.Meta // what is known of the checkpoint to resume from; nil if nothing
	saver   *checkpoint.Saver
	files   *store.Background // what nobody waits for, in the job's folder
	results results

	// meta is how far the run has come.
	meta     checkpoint.Meta
	lastTest *Evaluation // of the test images, by this attempt; nil before its first
	speed    speed
	onStep   func(step int64)
}

// Run trains until all epochs are done, or ctx is cancelled. It resumes from the newest checkpoint of the job.
//
// Results lie in the job's folder (see package contract): a checkpoint and a line of metrics for every epoch, the log,
// and at the end the model. The exit code of the error (see package exit) says what kind it is; after a cancelled ctx
// it is 75, and the checkpoint that was saved holds every step done.
func Run(ctx context.Context, job *v1.ResNetTrainingJob, opts Options) (_ *contract.Artifacts, err error) {
	runtime.LockOSThread() // OpenMP has a pool of threads for every OS thread that computes
	defer runtime.UnlockOSThread()

	r := newRun(job)
	r.progress, r.onStep = opts.Progress, opts.onStep
	ctx, closeLog := r.openLog(ctx, opts.Handler)
	defer func() { closeLog(err) }()
	r.store, err = openJob(ctx, job)
	if err != nil {
		return nil, err
	}
	checkpoints, err := checkpoint.Open(ctx, r.store, job, opts.Attempt)
	if err != nil {
		return nil, err
	}
	r.found = checkpoints.Found()
	r.attempt, r.files = checkpoints.Attempt(), store.NewBackground(ctx, r.store)
	r.saver = checkpoint.NewSaver(checkpoints, job.Spec.Checkpoint, r.committed)
	r.progress.Update(func(p *contract.Progress) { p.Attempt = r.attempt })

	if err := r.prepare(ctx, opts.CacheDir); err != nil {
		return nil, err
	}
	if err := r.resume(ctx, checkpoints); err != nil {
		return nil, err
	}
	r.begin()
	for r.meta.Epoch < r.spec.Epochs && !r.stopsEarly() {
		if err := r.epoch(ctx); err != nil {
			return nil, r.stop(ctx, err)
		}
	}
	return r.finish(ctx)
}

func newRun(job *v1.ResNetTrainingJob) *run {
	return &run{job: job, spec: job.Spec.Training, recipe: resolve(job.Spec.Training)}
}

// epoch trains for one epoch, tests, and saves.
func (r *run) epoch(ctx context.Context) error {
	start := time.Now()
	trained, err := r.trainEpoch(ctx)
	if err != nil {
		return err
	}
	evaluated, err := r.evaluate(ctx)
	if err != nil {
		return err
	}
	if err := r.record(trained, evaluated, time.Since(start)); err != nil {
		return err
	}
	if err := r.saveMetrics(); err != nil {
		return err
	}
	if err := r.saveEpoch(ctx); err != nil {
		return err
	}
	return r.reportSoFar()
}

// prepare reads the data and makes everything up to the first step.
func (r *run) prepare(ctx context.Context, cacheDir string) error {
	if err := r.useDevice(); err != nil {
		return err
	}
	if err := r.loadDataAndNetwork(ctx, cacheDir); err != nil {
		return err
	}
	return r.build()
}

// useDevice chooses the device and prepares this thread for it.
func (r *run) useDevice() (err error) {
	if r.device, r.dtype, err = chooseDevice(&r.job.Spec); err != nil {
		return err
	}
	r.dtype = keepPrecision(r.dtype, r.spec.Precision, r.found)
	if err := libtorch.SetDeterministic(r.spec.Deterministic); err != nil {
		return err
	}
	return libtorch.UseDevice(r.device)
}

// loadDataAndNetwork does both at the same time if the shape of the images is known beforehand.
func (r *run) loadDataAndNetwork(ctx context.Context, cacheDir string) error {
	shape, known := data.ShapeOf(r.job.Spec.Dataset)
	if !known {
		if err := r.loadData(ctx, cacheDir); err != nil {
			return err
		}
		return r.newModels(r.data.Shape())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() { loaded <- r.loadData(ctx, cacheDir) }()
	if err := r.newModels(shape); err != nil {
		cancel()
		<-loaded
		return err
	}
	return <-loaded
}

// build makes what needs the data: the loader, the schedule, the optimiser.
func (r *run) build() (err error) {
	if err := r.check(); err != nil {
		return err
	}
	if r.loader, err = data.NewLoader(r.data, int(r.spec.BatchSize), r.spec.Augmentation, r.spec.Seed); err != nil {
		return err
	}
	if r.schedule, err = newSchedule(r.recipe, r.loader.StepsPerEpoch()); err != nil {
		return err
	}
	r.freezeAt = freezeStep(r.job.Spec.Model, r.steps())
	if r.gpu, err = r.newGPUSteps(); err != nil {
		return err
	}
	if err := r.newOptimizer(); err != nil {
		return err
	}
	if r.dtype == libtorch.Float16 {
		if r.scaler, err = libtorch.NewGradScaler(r.device); err != nil {
			return err
		}
	}
	r.meta.Threads, r.meta.Input = libtorch.Threads(), inputOf(r.data)
	r.meta.Precision, r.meta.Kernels = precisionName(r.dtype), kernels(r.device)
	r.numbers, err = newNumbers(len(r.params.Tensors), r.device)
	return err
}

// newModels makes the network for images of a shape and, if the recipe has one, the average of its weights, which begins
// with the same ones.
func (r *run) newModels(s data.Shape) error {
	config, err := arch.ConfigOf(r.job.Spec.Model, s.H, s.W, s.C, s.Classes)
	if err != nil {
		return err
	}
	if r.model, err = resnet.New(config, r.spec.Seed, r.device); err == nil && r.spec.EMA != nil {
		r.ema, err = resnet.New(config, r.spec.Seed, r.device)
	}
	return err
}

// newOptimizer makes the optimiser of the recipe.
func (r *run) newOptimizer() (err error) {
	names, tensors := r.model.Parameters()
	o := r.spec.Optimizer
	decays := make([]float64, len(tensors))
	for i, t := range tensors {
		if value(o.DecayNormAndBias, true) || !resnet.IsNormOrBias(t) {
			decays[i] = value(o.WeightDecay, 5e-4)
		}
	}
	r.paramNames, r.params = names, libtorch.NewParameters(tensors, decays)
	if r.gpu != nil {
		r.optimizer, err = r.newGPUOptimizer()
	} else if o.Type == v1.SGD {
		r.optimizer, err = libtorch.NewSGD(r.params, r.recipe.dampening, r.recipe.nesterov)
	} else {
		r.optimizer, err = libtorch.NewAdamW(r.params, o.Betas[1], o.Eps)
	}
	return err
}

// tested is the network that is tested, saved and exported.
func (r *run) tested() *resnet.ResNet {
	if r.ema != nil {
		return r.ema
	}
	return r.model
}

// steps of the whole run.
func (r *run) steps() int64 { return int64(r.spec.Epochs) * int64(r.loader.StepsPerEpoch()) }

func (r *run) loadData(ctx context.Context, cacheDir string) (err error) {
	open := func(uri string) (store.Store, error) { return store.Open(ctx, uri, r.job.Spec.Storage.S3) }
	if r.data, err = data.Load(ctx, r.job.Spec.Dataset, r.spec.Seed, open, cacheDir); err != nil {
		return err
	}
	if n := r.job.Spec.Model.InputChannels; n != nil {
		return r.data.ToChannels(int(*n))
	}
	return nil
}

func inputOf(d *data.Dataset) checkpoint.Input {
	im := &d.Train
	return checkpoint.Input{Height: im.H, Width: im.W, Channels: im.C, Mean: d.Mean, Std: d.Std, Classes: d.Classes}
}

// openJob opens the job's folder in its storage.
func openJob(ctx context.Context, job *v1.ResNetTrainingJob) (store.Store, error) {
	st, err := store.Open(ctx, job.Spec.Storage.URI, job.Spec.Storage.S3)
	if err != nil {
		return nil, err
	}
	return store.Sub(st, contract.JobPrefix(job.Namespace, job.Name, string(job.UID))), nil
}
