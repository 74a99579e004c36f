//go:build cuda

package device

// #include <stdlib.h>
// #include "../cpp/libtorch.h"
import "C"

import (
	"errors"
	"unsafe"
)

// Compile compiles the kernels for GPUs of a compute capability, such as 90, as a launch on one does. No GPU need be there. code is what
// the driver loads, arch the option of NVRTC that made it.
func Compile(capability int) (code []byte, arch string, err error) {
	var option, bytes *C.char
	var n C.int64_t
	if m := C.lt_cuda_compile(C.int(capability), &option, &bytes, &n); m != nil {
		defer C.lt_free_message(m)
		return nil, "", errors.New(C.GoString(m))
	}
	defer C.free(unsafe.Pointer(option))
	defer C.free(unsafe.Pointer(bytes))
	return C.GoBytes(unsafe.Pointer(bytes), C.int(n)), C.GoString(option), nil
}
