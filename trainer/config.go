package trainer

import (
	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// check finds what the CRD cannot know: contradictions between the job and its data.
func (r *run) check() error {
	if n := r.data.Train.N; int(r.spec.BatchSize) > n {
		return exit.Errorf(contract.ExitConfig,
			"spec.training.batchSize is %d, but there are %d training images: set it to %d or less", r.spec.BatchSize, n, n)
	}
	if r.spec.EarlyStopping != nil && r.data.Validation.N == 0 {
		return exit.Errorf(contract.ExitConfig,
			"spec.training.earlyStopping needs images to validate on: set spec.dataset.validationFraction, for example to 0.1, or give an ImageFolder val/ beside test/")
	}
	return nil
}

// chooseDevice returns where to train, and the type of convolutions and matrix products.
func chooseDevice(spec *v1.ResNetTrainingJobSpec) (d libtorch.Device, t libtorch.DType, err error) {
	if spec.Resources.GPUs > 0 {
		d = libtorch.CUDA
		if !libtorch.CUDAAvailable() {
			return d, t, exit.Errorf(contract.ExitConfig,
				"spec.resources.gpus is %d, but this trainer finds no GPU: set it to 0 or use an image with CUDA", spec.Resources.GPUs)
		}
	}
	switch precision := spec.Training.Precision; {
	case precision == v1.PrecisionFP16 && d == libtorch.CPU:
		return d, t, exit.Errorf(contract.ExitConfig,
			"spec.training.precision is FP16, which needs a GPU: set spec.resources.gpus, or precision to Auto, BF16 or FP32")
	case precision == v1.PrecisionFP16:
		return d, libtorch.Float16, nil
	case precision == v1.PrecisionBF16, precision != v1.PrecisionFP32 && libtorch.FastBF16(d):
		return d, libtorch.BFloat16, nil
	}
	return d, libtorch.Float32, nil
}
