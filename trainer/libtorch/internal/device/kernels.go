//go:build cuda || cuda_emulated

package device

// #include "../cpp/libtorch.h"
import "C"

import (
	"embed"
	"io/fs"
	"strings"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch/internal/cpp"
)

// Embedded for cuda_emulated too: go build looks for changes in no other files of cuda/.
//
//go:embed cuda/*.cu
var kernels embed.FS

func init() {
	files, err := fs.Glob(kernels, "cuda/*.cu") // sorted
	if err != nil {
		panic(err)
	}
	var source strings.Builder
	source.WriteString(cpp.KernelArgs)
	for _, name := range files {
		text, err := kernels.ReadFile(name)
		if err != nil {
			panic(err)
		}
		source.Write(text)
	}
	C.lt_cuda_source(C.CString(source.String()))
}
