//go:build cuda || !nogloo

package collective

// #include <stdlib.h>
// #include "collective.h"
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

//export gl_store_set
func gl_store_set(store C.uintptr_t, key *C.char, value unsafe.Pointer, n C.int64_t) C.gl_message {
	s := cgo.Handle(store).Value().(Store)
	return answer(s.Set(C.GoString(key), C.GoBytes(value, C.int(n))))
}

//export gl_store_get
func gl_store_get(store C.uintptr_t, key *C.char, value *unsafe.Pointer, n *C.int64_t) C.gl_message {
	s := cgo.Handle(store).Value().(Store)
	v, err := s.Get(C.GoString(key))
	if err == nil {
		*value, *n = C.CBytes(v), C.int64_t(len(v))
	}
	return answer(err)
}

func answer(err error) C.gl_message {
	if err == nil {
		return nil
	}
	return C.CString(err.Error())
}
