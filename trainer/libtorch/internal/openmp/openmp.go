// Package openmp decides the number of threads before anything of libtorch is initialised.
//
// It must not import gotorch: gotorch's init sets the number of threads to NumCPU/2 unless OMP_NUM_THREADS is set,
// which on one processor is 0, and libtorch aborts. Go initialises packages that are ready in the order of their import
// paths, and this one sorts first; so it must not import what gotorch does not import either, such as path/filepath.
package openmp

import (
	"math"
	"os"
	"runtime"
	"strconv"
)

const env = "OMP_NUM_THREADS"

// Threads is OMP_NUM_THREADS or, if that is not a positive number, what the limits of the container allow (OpenMP by itself
// would start a thread for every processor of the node).
var Threads int

func init() {
	n, err := strconv.Atoi(os.Getenv(env))
	if err != nil || n < 1 {
		n = threads(runtime.GOMAXPROCS(0), quota(""))
		os.Setenv(env, strconv.Itoa(n))
	}
	Threads = n
}

// threads for a quota of processors. GOMAXPROCS follows it too, but is never less than 2: on a quota of one, two threads that wait for
// each other are stopped together for half of the time.
func threads(maxProcs int, quota float64) int {
	return max(1, int(math.Min(float64(maxProcs), math.Ceil(quota))))
}
