//go:build cuda || cuda_emulated

package libtorch

// #cgo cuda CXXFLAGS: -DWITH_CUDA
// #cgo cuda LDFLAGS: -Wl,--no-as-needed -ltorch_cuda -lc10_cuda
// #include "libtorch.h"
import "C"

import (
	"embed"
	"io/fs"
	"strings"
)

// Embedded for cuda_emulated too: go build looks for changes in no other files of cuda/.
//
//go:embed kernel_args.h cuda/*.cu
var kernels embed.FS

func init() {
	files, err := fs.Glob(kernels, "cuda/*.cu") // sorted
	if err != nil {
		panic(err)
	}
	var source strings.Builder
	for _, name := range append([]string{"kernel_args.h"}, files...) {
		text, err := kernels.ReadFile(name)
		if err != nil {
			panic(err)
		}
		source.Write(text)
	}
	C.lt_cuda_source(C.CString(source.String()))
}
