package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"os"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch/internal/openmp"
)

// Device is where tensors live.
type Device int

const (
	CPU  Device = C.LT_CPU
	CUDA Device = C.LT_CUDA // the current one
)

func (d Device) String() string {
	if d == CUDA {
		return "cuda"
	}
	return "cpu"
}

// CUDAAvailable is torch.cuda.is_available.
func CUDAAvailable() bool { return CUDADevices() > 0 }

// CUDADevices is torch.cuda.device_count: the number of GPUs that this process sees. Where the program was not built for CUDA, libtorch
// may have it all the same, and then it is 1.
func CUDADevices() int { return int(C.lt_gpu_count()) }

// HasKernels reports whether there are kernels of our own for tensors on d.
func HasKernels(d Device) (has bool) {
	_ = Do(func(s *Scope) {
		if t := s.Zeros([]int64{1}, Float32, d); s.err == nil {
			has = d == CUDA && bool(C.lt_has_kernels(c(t)))
		}
	})
	return has
}

// UseDevice prepares this thread for training on d. Float32 is float32 on a GPU, too: not TF32, which cuDNN takes by default.
func UseDevice(d Device) error {
	if d == CUDA {
		C.lt_forbid_tf32()
	}
	if !HasKernels(d) {
		return nil
	}
	return call("device", func() C.lt_message { return C.lt_begin_device() })
}

// Memory of a GPU, in bytes.
type Memory struct {
	Free, Total int64
	Peak        int64 // the most that was taken from it
}

// DeviceMemory is that of the current GPU. Only programs built for CUDA know it.
func DeviceMemory() (m Memory, err error) {
	var free, total, peak C.int64_t
	err = call("memory", func() C.lt_message { return C.lt_device_memory(&free, &total, &peak) })
	return Memory{int64(free), int64(total), int64(peak)}, err
}

// Threads is the number of compute threads: OMP_NUM_THREADS, else what the container's limit of processor time allows.
func Threads() int { return openmp.Threads }

// SetThreads changes that number. It belongs before the first computation.
func SetThreads(n int) { openmp.Threads = n }

// Version of libtorch, as 1.13.1.
func Version() string { return take(C.lt_version()) }

// Config is torch.__config__.show(): how libtorch was built, and the instruction set that it uses here.
func Config() string { return take(C.lt_config()) }

// FastBF16 reports whether d trains faster in bfloat16 than in float32. A CPU with AVX-512's bfloat16 alone does not: our
// convolutions in float32 are faster than oneDNN's in bfloat16.
func FastBF16(d Device) bool { return d == CUDA || bool(C.lt_has_amx()) }

// SetDeterministic is torch.use_deterministic_algorithms, for the whole process, with cuDNN's equivalent. It belongs before the
// first use of a GPU: cuBLAS reads CUBLAS_WORKSPACE_CONFIG once, and libtorch refuses matrix products without it.
func SetDeterministic(on bool) error {
	const workspace = "CUBLAS_WORKSPACE_CONFIG"
	if _, set := os.LookupEnv(workspace); on && !set {
		if err := os.Setenv(workspace, ":4096:8"); err != nil {
			return err
		}
	}
	return call("deterministic", func() C.lt_message { return C.lt_set_deterministic(C.bool(on)) })
}
