package libtorch_test

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

func TestErrorsDoNotEndTheProcess(t *testing.T) {
	zeros := func(s *libtorch.Scope, shape ...int64) libtorch.Tensor {
		return s.Zeros(shape, libtorch.Float32, libtorch.CPU)
	}
	var ended libtorch.Tensor
	if err := libtorch.Do(func(s *libtorch.Scope) { ended = zeros(s, 2) }); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		do   func(s *libtorch.Scope)
		want string
	}{
		"shapes that do not fit": {
			func(s *libtorch.Scope) { s.Linear(zeros(s, 2, 3), zeros(s, 5, 4), zeros(s, 5)) },
			"libtorch: linear: mat1 and mat2 shapes cannot be multiplied",
		},
		"channels that do not fit": {
			func(s *libtorch.Scope) { s.Conv2d(zeros(s, 1, 3, 8, 8), zeros(s, 4, 2, 3, 3), 1, 1) },
			"libtorch: conv2d: Given groups=1, weight of size [4, 2, 3, 3]",
		},
		"backward without gradient": {
			func(s *libtorch.Scope) { s.Backward(zeros(s)) },
			"libtorch: backward: element 0 of tensors does not require grad",
		},
		"label out of range": {
			func(s *libtorch.Scope) {
				libtorch.CrossEntropy{}.Of(s, zeros(s, 1, 3), s.Labels([]int64{3}, libtorch.CPU))
			},
			"libtorch: cross_entropy: Target 3 is out of bounds",
		},
		"too few pixels": {
			func(s *libtorch.Scope) { s.Images(make([]byte, 5), 1, 2, 3, []float32{0}, []float32{1}, libtorch.CPU) },
			"libtorch: images: 5 bytes are not 1×2×3×1",
		},
		"more memory than there is": {
			func(s *libtorch.Scope) { zeros(s, 1<<30, 1<<20) },
			"libtorch: full: ",
		},
		"no such device": {
			func(s *libtorch.Scope) { s.Zeros([]int64{1}, libtorch.Float32, libtorch.CUDA) },
			"libtorch: full: ",
		},
		"tensor of a scope that has ended": {
			func(s *libtorch.Scope) { s.Activate(libtorch.ReLU, ended) },
			"libtorch: activation: tensor is undefined, or its scope has ended",
		},
		"after an error nothing is done": {
			func(s *libtorch.Scope) {
				s.Backward(s.Activate(libtorch.ReLU, s.Activate(libtorch.ReLU, libtorch.Tensor{})))
			},
			"libtorch: activation: tensor is undefined, or its scope has ended",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no such device" && device == libtorch.CUDA {
				t.Skip("there is one")
			}
			err := libtorch.Do(test.do)
			if err == nil || !strings.HasPrefix(strings.Replace(err.Error(), " addmm:", "", 1), test.want) || // libtorch 2 names it
				strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
}

// TestGarbageCollection computes on several goroutines while the garbage collector runs all the time: no tensor may be
// freed during a call, or twice.
func TestGarbageCollection(t *testing.T) {
	stop := make(chan struct{})
	var collector, workers sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	for range 3 {
		workers.Go(func() {
			for range 100 {
				var kept libtorch.Tensor
				err := libtorch.Do(func(s *libtorch.Scope) {
					kept = s.Keep(s.Zeros([]int64{64}, libtorch.Float32, libtorch.CPU))
					s.AddTo(kept, s.Activate(libtorch.ReLU, s.Zeros([]int64{64}, libtorch.Float32, libtorch.CPU)))
				})
				if values, readErr := libtorch.Values[float32](kept); err != nil || readErr != nil || len(values) != 64 {
					t.Error(err, readErr, len(values))
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	collector.Wait()
}

// TestOneProcessor: gotorch alone ends the process where there is one.
func TestOneProcessor(t *testing.T) {
	const child = "LIBTORCH_TEST_ONE_PROCESSOR"
	if os.Getenv(child) != "" {
		if n := libtorch.Threads(); n != 1 {
			t.Errorf("%d threads on one processor", n)
		}
		return
	}
	cmd := exec.Command("taskset", "-c", "0", os.Args[0], "-test.run", "^TestOneProcessor$")
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.Env = slices.DeleteFunc(cmd.Env, func(s string) bool { return strings.HasPrefix(s, "OMP_NUM_THREADS=") }) // set by this process
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
