package libtorch_test

import (
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// device of the tests: a GPU, if the program was built for one, or with kernels emulated on the CPU (-tags cuda_emulated).
var device = func() libtorch.Device {
	if libtorch.HasKernels(libtorch.CUDA) {
		return libtorch.CUDA
	}
	return libtorch.CPU
}()

// onDevice moves a tensor there.
func onDevice(t *testing.T, x libtorch.Tensor, err error) libtorch.Tensor {
	t.Helper()
	if err == nil {
		err = libtorch.Move(x, device)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// buffer of n numbers.
func buffer(t *testing.T, n int64, value float64) libtorch.Tensor {
	t.Helper()
	b, err := libtorch.NewBuffer([]int64{n}, value)
	return onDevice(t, b, err)
}
