//go:build cuda || cuda_emulated

package libtorch

// #cgo cuda CXXFLAGS: -DWITH_CUDA
// #cgo cuda LDFLAGS: -Wl,--no-as-needed -ltorch_cuda -lc10_cuda
// #include "libtorch.h"
import "C"

import (
	"embed"
	"strings"
)

// Embedded for cuda_emulated too: go build looks for changes in no other files of cuda/.
//
//go:embed kernel_args.h cuda/*.cu
var kernels embed.FS

func init() {
	var source strings.Builder
	add := func(name string) {
		text, err := kernels.ReadFile(name)
		if err != nil {
			panic(err)
		}
		source.Write(text)
	}
	files, err := kernels.ReadDir("cuda") // sorted
	if err != nil {
		panic(err)
	}
	add("kernel_args.h")
	for _, file := range files {
		add("cuda/" + file.Name())
	}
	C.lt_cuda_source(C.CString(source.String()))
}
