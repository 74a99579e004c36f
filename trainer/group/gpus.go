package group

import (
	"os"
	"strconv"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group/internal/collective"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// Available says whether the processes of this program can train together.
const Available = collective.Available

// OnGPUs says whether the processes of a group compute on GPUs in this program, one each; else on CPUs.
const OnGPUs = collective.OnGPU

// visible is CUDA's list of the GPUs that a process sees, by number or name. Without it, it sees all.
const visible = "CUDA_VISIBLE_DEVICES"

// LocalGPUs are settings for the environment of the processes of this machine, by their number from 0: each sees a GPU of its own, as the only one.
// The first process of the machine, which sees them all, takes the first. Nil for one GPU or none.
//
// Errors: exit code 64 if this process sees fewer.
func LocalGPUs(n int) (settings []string, err error) {
	if n < 2 {
		return nil, nil
	}
	return localGPUs(n, libtorch.CUDADevices())
}

func localGPUs(n, found int) (settings []string, err error) {
	value, limited := os.LookupEnv(visible)
	names := strings.Split(value, ",")
	if limited && (value == "" || len(names) < n) {
		return nil, exit.Errorf(contract.ExitConfig, "spec.resources.gpus asks for %d GPUs of this machine, and %s is %q: it must name as many, or not be set", n,
			visible, value)
	}
	if found < n {
		return nil, exit.Errorf(contract.ExitConfig, "spec.resources.gpus asks for %d GPUs of this machine, and this trainer finds %d", n, found)
	}
	for i := range n {
		name := strconv.Itoa(i)
		if limited {
			name = strings.TrimSpace(names[i])
		}
		settings = append(settings, visible+"="+name)
	}
	return settings, nil
}

// Deterministic lets NCCL add in the same order in every run, where its algorithms can be told to: rings, and not NVLink's switches. It
// belongs before Join.
func Deterministic() {
	for name, value := range map[string]string{"NCCL_ALGO": "Ring", "NCCL_PROTO": "Simple", "NCCL_NVLS_ENABLE": "0"} {
		if _, set := os.LookupEnv(name); !set {
			os.Setenv(name, value)
		}
	}
}
