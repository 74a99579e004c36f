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
	return nil
}

// chooseDevice returns where to train, and whether in bfloat16.
func (r *run) chooseDevice() (d libtorch.Device, bf16 bool, err error) {
	if r.job.Spec.Resources.GPUs > 0 {
		d = libtorch.CUDA
		if !libtorch.CUDAAvailable() {
			return d, false, exit.Errorf(contract.ExitConfig,
				"spec.resources.gpus is %d, but this trainer finds no GPU: set it to 0 or use an image with CUDA", r.job.Spec.Resources.GPUs)
		}
	}
	switch r.spec.Precision {
	case v1.PrecisionBF16:
		return d, true, nil
	case v1.PrecisionFP32:
		return d, false, nil
	default:
		return d, libtorch.FastBF16(d), nil
	}
}
