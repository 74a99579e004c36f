package state

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/cpu"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// An attempt goes on in the precision of the attempts before it, whatever node it is on. What it cannot keep, the
// instruction set and the number of threads, changes the last digits of the numbers, and it says so.

// KeepPrecision chooses the type that the checkpoint was computed with, where the spec leaves the choice to the
// trainer.
func KeepPrecision(chosen libtorch.DType, precision v1.Precision, found *checkpoint.Meta) libtorch.DType {
	if found == nil || precision != v1.PrecisionAuto && precision != "" {
		return chosen
	}
	for _, t := range []libtorch.DType{libtorch.Float32, libtorch.BFloat16} {
		if PrecisionName(t) == found.Precision {
			return t
		}
	}
	return chosen
}

// Kernels names what the kernels of libtorch, oneDNN and our own choose by: the GPU, or the instruction set of the CPU.
// Variables by which people make them choose otherwise are part of the name.
func Kernels(d libtorch.Device) string {
	if d != libtorch.CPU {
		return cmp.Or(DeviceName(d), d.String())
	}
	name := instructionSet()
	for _, variable := range []string{"RESNET_KERNELS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA",
		"DNNL_MAX_CPU_ISA"} {
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

// PrecisionName is what people call a type.
func PrecisionName(t libtorch.DType) string {
	switch t {
	case libtorch.Float16:
		return "fp16"
	case libtorch.BFloat16:
		return "bf16"
	case libtorch.Float32:
		return "fp32"
	}
	return fmt.Sprint(t)
}

// DeviceName is what the maker calls the processor or GPU; "" if Linux does not tell.
func DeviceName(d libtorch.Device) string {
	pattern, key := "/proc/cpuinfo", "model name"
	if d != libtorch.CPU {
		pattern, key = "/proc/driver/nvidia/gpus/*/information", "Model"
	}
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
				return strings.TrimSpace(value)
			}
		}
	}
	return ""
}
