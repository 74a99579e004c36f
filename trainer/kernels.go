package trainer

import (
	"cmp"
	"os"

	"golang.org/x/sys/cpu"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// An attempt goes on in the precision of the attempts before it, whatever node it is on. What it cannot keep, the
// instruction set and the number of threads, changes the last digits of the numbers, and it says so.

// keepPrecision chooses the type that the checkpoint was computed with, where the spec leaves the choice to the trainer.
func keepPrecision(chosen libtorch.DType, precision v1.Precision, found *checkpoint.Meta) libtorch.DType {
	if found == nil || precision != v1.PrecisionAuto && precision != "" {
		return chosen
	}
	for _, t := range []libtorch.DType{libtorch.Float32, libtorch.BFloat16} {
		if precisionName(t) == found.Precision {
			return t
		}
	}
	return chosen
}

// compareCompute warns of what is another than when the checkpoint was computed.
func (r *run) compareCompute(before, now checkpoint.Meta) {
	const differ = ": from here on the numbers will differ in their last digits from those of a run without interruption"
	if before.Threads != now.Threads {
		r.log.Warn("the checkpoint was computed with another number of threads"+differ+"; set OMP_NUM_THREADS or the pod's CPU limit as before",
			"before", before.Threads, "now", now.Threads)
	}
	if before.Kernels != "" && before.Kernels != now.Kernels {
		r.log.Warn("the checkpoint was computed with other kernels"+differ+"; let spec.template.nodeSelector choose like nodes",
			"before", before.Kernels, "now", now.Kernels)
	}
	if before.Precision != "" && before.Precision != now.Precision {
		r.log.Warn("the checkpoint was computed in another precision: set spec.training.precision to keep it",
			"before", before.Precision, "now", now.Precision)
	}
	if now.Precision == precisionName(libtorch.BFloat16) && !libtorch.FastBF16(r.device) && r.spec.Precision != v1.PrecisionBF16 {
		r.log.Warn("the checkpoint was computed in BF16, for which this processor has no instructions: training goes on in BF16, but slowly; " +
			"let spec.template.nodeSelector choose nodes with AMX")
	}
}

// kernels names what the kernels of libtorch, oneDNN and our own choose by: the GPU, or the instruction set of the CPU.
// Variables by which people make them choose otherwise are part of the name.
func kernels(d libtorch.Device) string {
	if d != libtorch.CPU {
		return cmp.Or(deviceName(d), d.String())
	}
	name := instructionSet()
	for _, variable := range []string{"RESNET_KERNELS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"} {
		if value := os.Getenv(variable); value != "" {
			name += " " + variable + "=" + value
		}
	}
	return name
}

func instructionSet() string {
	x := cpu.X86
	switch {
	case cpu.ARM64.HasASIMD:
		return "asimd"
	case x.HasAMXTile && x.HasAMXBF16:
		return "amx"
	case x.HasAVX512BF16:
		return "avx512_bf16"
	case x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ:
		return "avx512"
	case x.HasAVX2 && x.HasFMA:
		return "avx2"
	}
	return "base"
}
