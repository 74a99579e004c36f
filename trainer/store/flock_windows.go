package store

import (
	"errors"
	"os"
)

// flock does not exist: on Windows there are clients of buckets only.
func flock(*os.File, bool) error { return errors.ErrUnsupported }
