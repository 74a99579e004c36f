package trainer

import (
	"context"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
	"github.com/resnet-operator/resnet-operator/trainer/state"
	"github.com/resnet-operator/resnet-operator/trainer/step"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// training is everything that the first step needs.
type training struct {
	job    *v1.ResNetTrainingJob
	plan   *recipe.Plan
	data   *data.Dataset
	loader *data.Loader
	device libtorch.Device
	dtype  libtorch.DType // of convolutions and matrix products
	state  *state.State
	group  *group.Group // see divide
	// classWeights are those of spec.training.classWeights; nil: 1 each.
	classWeights []float64
}

// prepare reads the data and makes everything up to the first step. found is what is known of the checkpoint to resume
// from; nil if nothing.
func prepare(ctx context.Context, job *v1.ResNetTrainingJob, found *checkpoint.Meta, cacheDir string) (
	t *training, err error) {
	t = &training{job: job}
	if t.device, t.dtype, err = chooseDevice(&job.Spec); err != nil {
		return nil, err
	}
	t.dtype = state.KeepPrecision(t.dtype, job.Spec.Training.Precision, found)
	if err := libtorch.SetDeterministic(job.Spec.Training.Deterministic); err != nil {
		return nil, err
	}
	if err := libtorch.UseDevice(t.device); err != nil {
		return nil, err
	}
	if err := t.loadDataAndNetwork(ctx, cacheDir); err != nil {
		return nil, err
	}
	if t.plan, err = recipe.NewPlan(&job.Spec, t.data.Train.N, t.data.Validation.N); err != nil {
		return nil, err
	}
	t.state.Input = inputOf(t.data)
	return t, t.newLoader()
}

// newLoader makes the loader, and what of the loss depends on the data.
func (t *training) newLoader() (err error) {
	t.loader, err = data.NewLoader(t.data, int(t.plan.BatchSize), t.plan.Augmentation, t.plan.Seed)
	if err != nil {
		return err
	}
	if t.plan.Sampler == v1.SamplerBalanced {
		t.loader.Balance()
	}
	w, classes := t.plan.ClassWeights, t.data.Classes
	switch {
	case w == nil:
		return nil
	case w.Type != v1.ClassWeightsValues:
		t.classWeights = t.data.Train.BalancedWeights(len(classes))
	case len(w.Values) != len(classes):
		return exit.Errorf(contract.ExitConfig, "spec.training.classWeights.values has %d weights, but the data has %d "+
			"classes: give one for each, in the order %s", len(w.Values), len(classes), someClasses(classes))
	default:
		t.classWeights = w.Values
	}
	t.loader.Weigh(t.classWeights)
	return nil
}

// someClasses lists the first of the classes.
func someClasses(classes []string) string {
	const most = 10
	if len(classes) > most {
		return strings.Join(classes[:most], ", ") + ", …"
	}
	return strings.Join(classes, ", ")
}

// loadDataAndNetwork does both at the same time if the shape of the images is known beforehand.
func (t *training) loadDataAndNetwork(ctx context.Context, cacheDir string) (err error) {
	shape, known := data.ShapeOf(t.job.Spec.Dataset)
	if !known {
		if t.data, err = loadData(ctx, t.job, cacheDir); err != nil {
			return err
		}
		return t.newState(t.data.Shape())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() {
		var err error
		t.data, err = loadData(ctx, t.job, cacheDir)
		loaded <- err
	}()
	if err := t.newState(shape); err != nil {
		cancel()
		<-loaded
		return err
	}
	return <-loaded
}

// newState makes the network for images of a shape, and its optimiser.
func (t *training) newState(s data.Shape) error {
	config, err := arch.ConfigOf(t.job.Spec.Model, s.H, s.W, s.C, s.Classes)
	if err != nil {
		return err
	}
	r := recipe.Resolve(t.job.Spec.Training)
	t.state, err = state.New(config, &r, t.device, t.dtype)
	return err
}

// inputs of the steps.
func (t *training) inputs() step.Inputs {
	return step.Inputs{Plan: t.plan, Data: t.data, Loader: t.loader, Device: t.device, DType: t.dtype,
		ClassWeights: t.classWeights,
		Group:        t.group, CompressGradients: t.job.Spec.CompressesGradients()}
}

// readNumbers adds the numbers of steps to the state one by one, so that its sums do not depend on when it is called.
func readNumbers(st *state.State, from step.Step, wait bool) error {
	numbers, err := from.Read(wait)
	for _, n := range numbers {
		st.Add(n.Loss, n.GradNorm)
	}
	return err
}

// chooseDevice returns where to train, and the type of convolutions and matrix products.
func chooseDevice(spec *v1.ResNetTrainingJobSpec) (d libtorch.Device, t libtorch.DType, err error) {
	if spec.Resources.GPUs > 0 {
		d = libtorch.CUDA
		if !libtorch.CUDAAvailable() {
			return d, t, exit.Errorf(contract.ExitConfig,
				"spec.resources.gpus is %d, but this trainer finds no GPU: set it to 0 or use an image with CUDA",
				spec.Resources.GPUs)
		}
	}
	switch precision := spec.Training.Precision; {
	case precision == v1.PrecisionFP16 && d == libtorch.CPU:
		return d, t, exit.Errorf(contract.ExitConfig,
			"spec.training.precision is FP16, which needs a GPU: set spec.resources.gpus, or precision to Auto, "+
				"BF16 or FP32")
	case precision == v1.PrecisionFP16:
		return d, libtorch.Float16, nil
	case precision == v1.PrecisionBF16, precision != v1.PrecisionFP32 && libtorch.FastBF16(d):
		return d, libtorch.BFloat16, nil
	}
	return d, libtorch.Float32, nil
}

// loadData reads the data set of a job.
func loadData(ctx context.Context, job *v1.ResNetTrainingJob, cacheDir string) (*data.Dataset, error) {
	open := func(uri string) (store.Store, error) { return store.Open(ctx, uri, job.Spec.Storage.S3) }
	from := data.Source{DatasetSpec: job.Spec.Dataset, Seed: job.Spec.Training.Seed, Open: open, CacheDir: cacheDir,
		Whole: job.Spec.Training.Augmentation.RandomResizedCrop != nil}
	if from.ImageSize != nil && from.ResizeSize == nil {
		from.ResizeSize = new(int32(arch.ResizeSize(job.Spec.Model, int(*from.ImageSize))))
	}
	d, err := data.Load(ctx, from)
	if err != nil {
		return nil, err
	}
	if n := job.Spec.Model.InputChannels; n != nil {
		return d, d.ToChannels(int(*n))
	}
	return d, nil
}

func inputOf(d *data.Dataset) checkpoint.Input {
	im := &d.Train
	return checkpoint.Input{Height: im.H, Width: im.W, Channels: im.C, Resize: d.Resize, Mean: d.Mean, Std: d.Std,
		Classes: d.Classes}
}

// openJob opens the job's folder in its storage.
func openJob(ctx context.Context, job *v1.ResNetTrainingJob) (store.Store, error) {
	st, err := store.Open(ctx, job.Spec.Storage.URI, job.Spec.Storage.S3)
	if err != nil {
		return nil, err
	}
	return store.Sub(st, contract.JobPrefix(job.Namespace, job.Name, string(job.UID))), nil
}
