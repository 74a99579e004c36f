package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"errors"
	"fmt"
)

// errFreed is the misuse that the handles' indirection catches.
var errFreed = errors.New("tensor is undefined, or its scope has ended")

// check turns a message from C into an error and frees it.
func check(op string, m C.lt_message) error {
	if m == nil {
		return nil
	}
	return fmt.Errorf("libtorch: %s: %s", op, take(m))
}

// take copies a string from C and frees it.
func take(m C.lt_message) string {
	defer C.lt_free_message(m)
	return C.GoString(m)
}
