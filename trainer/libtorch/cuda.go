//go:build cuda

package libtorch

// #cgo CXXFLAGS: -DWITH_CUDA
// #cgo LDFLAGS: -Wl,--no-as-needed -ltorch_cuda -lc10_cuda
// #include "libtorch.h"
import "C"

import (
	"embed"
	"strings"
)

//go:embed cuda/*.cu
var kernels embed.FS

func init() {
	files, err := kernels.ReadDir("cuda") // sorted
	if err != nil {
		panic(err)
	}
	var source strings.Builder
	for _, file := range files {
		text, err := kernels.ReadFile("cuda/" + file.Name())
		if err != nil {
			panic(err)
		}
		source.Write(text)
	}
	C.lt_cuda_source(C.CString(source.String()))
}
