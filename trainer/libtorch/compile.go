//go:build cuda

package libtorch

// #include <stdlib.h>
// #include "internal/cpp/libtorch.h"
import "C"

import "unsafe"

// CompileKernels compiles our kernels for GPUs of a compute capability, such as 90, as a launch on one does. No GPU need be there. code is what
// the driver loads, arch the option of NVRTC that made it.
func CompileKernels(capability int) (code []byte, arch string, err error) {
	var option, bytes *C.char
	var n C.int64_t
	if m := C.lt_cuda_compile(C.int(capability), &option, &bytes, &n); m != nil {
		return nil, "", check("compile", m)
	}
	defer C.free(unsafe.Pointer(option))
	defer C.free(unsafe.Pointer(bytes))
	return C.GoBytes(unsafe.Pointer(bytes), C.int(n)), C.GoString(option), nil
}
