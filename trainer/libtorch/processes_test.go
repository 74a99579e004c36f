package libtorch_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// sums are those of n goroutines, which stand for the processes of a training.
type sums struct {
	mutex   sync.Mutex
	n, come int
	total   []float64
	all     chan struct{} // closed once all have come
}

func (s *sums) add(numbers []float64) error {
	s.mutex.Lock()
	if s.come == 0 {
		s.total, s.all = make([]float64, len(numbers)), make(chan struct{})
	}
	total, all := s.total, s.all
	for i, x := range numbers {
		total[i] += x
	}
	if s.come++; s.come == s.n {
		s.come = 0
		close(all)
	}
	s.mutex.Unlock()
	select {
	case <-all:
	case <-time.After(time.Minute):
		return errors.New("a process is missing")
	}
	copy(numbers, total)
	return nil
}

// part of a process in the norm of a batch of all: its gradients are those of the whole norm.
func (l layer) part(s *libtorch.Scope, norm libtorch.Tensor) libtorch.Tensor {
	own, err := libtorch.Values[float32](norm)
	if err != nil {
		s.Fail(err)
		return norm
	}
	square := []float64{float64(own[0]) * float64(own[0])}
	s.Fail(l.sum(square))
	share := float64(own[0]) / math.Sqrt(square[0])
	times := libtorch.GradScaler{Scale: s.Full([]int64{1}, share, libtorch.Float32, libtorch.CPU)}
	return times.ScaleLoss(s, norm)
}

// content of a result.
func (l layer) content(t *testing.T, name string, x libtorch.Tensor) checkpoint.Tensor {
	c := packed(t, name, x)
	if !l.Autocast {
		c.DType = "F32"
	}
	return c
}

// together are the results of run of several processes that share the images.
func (l layer) together(t *testing.T, processes int64, in checkpoint.StateDict) map[string][]float64 {
	t.Helper()
	all, results := &sums{n: int(processes)}, make([]map[string]libtorch.Tensor, processes)
	var wg sync.WaitGroup
	for rank := range processes {
		part, images := l, checkpoint.StateDict{}
		begin, end := l.n*rank/processes, l.n*(rank+1)/processes
		part.n, part.sum = end-begin, all.add
		for name, data := range in {
			if len(data.Shape) == 4 {
				size := int64(len(data.Data)) / l.n
				data.Shape, data.Data = append([]int64{part.n}, data.Shape[1:]...), data.Data[begin*size:end*size]
			}
			images[name] = data
		}
		wg.Go(func() { results[rank] = part.run(t, images) })
	}
	wg.Wait()
	whole := map[string][]float64{}
	for k, first := range results[0] {
		for rank, r := range results {
			own := l.content(t, k, r[k])
			switch values := pytorch.Floats(own); {
			case rank == 0:
				whole[k] = values
			case k == "dw" || k == "db":
				for i, v := range values {
					whole[k][i] += v
				}
			case k == "mean" || k == "var":
				if !bytes.Equal(own.Data, l.content(t, k, first).Data) {
					t.Errorf("rank %d has another running %s than rank 0", rank, k)
				}
			default:
				whole[k] = append(whole[k], values...)
			}
		}
	}
	return whole
}

// TestSyncBatchNorm: processes that share the images of a batch normalise them as PyTorch does the whole batch, forward
// and backward.
func TestSyncBatchNorm(t *testing.T) {
	if device != libtorch.CPU {
		t.Skip("is for CPUs")
	}
	ls := map[string]layer{}
	for _, autocast := range []bool{false, pytorch.HasBFloat16()} {
		for _, l := range norms([]layer{{n: 4, in: 64, h: 16, w: 16}, {n: 3, in: 19, h: 7, w: 7}, {n: 5, in: 67, h: 1, w: 1},
			{n: 70, in: 3, h: 1, w: 1}, {n: 3, in: 8, h: 61, w: 67}}) {
			l.Autocast = autocast
			ls[fmt.Sprintf("%v, autocast %t", l, autocast)] = l
		}
	}
	inputs := inputsOf(ls)
	want := exact(t, ls, inputs)
	for name, l := range ls {
		t.Run(name, func(t *testing.T) {
			t.Setenv("RESNET_KERNELS", "libtorch")
			theirs := l.run(t, inputs[name])
			cancellation := pytorch.Floats(want[name+"/float64.cancellation"])[0]
			for _, kernels := range []string{"", "libtorch"} {
				t.Setenv("RESNET_KERNELS", kernels)
				for processes := int64(2); processes <= 3; processes++ {
					for k, got := range l.together(t, processes, inputs[name]) {
						floor := l.roundings(k, cancellation)
						if l.Autocast {
							floor = 0x1p-8 // a rounding to bfloat16
						}
						label := fmt.Sprintf("%d processes, kernels %q: %s", processes, kernels, k)
						pytorch.AsExact(t, label, got, pytorch.Floats(l.content(t, k, theirs[k])),
							pytorch.Floats(want[name+"/float64."+k]), 2, floor)
					}
				}
			}
		})
	}
}

// TestLostSum: the error of a sum is that of the operation, forward or backward.
func TestLostSum(t *testing.T) {
	if device != libtorch.CPU {
		t.Skip("is for CPUs")
	}
	l := layer{n: 2, in: 3, h: 4, w: 4, Norm: true}
	in := inputsOf(map[string]layer{"": l})[""]
	for name, last := range map[string]int{"batch_norm": 0, "backward": 1} {
		bn := libtorch.BatchNorm{Weight: parameter(t, in["w"]), Bias: parameter(t, in["b"]), Momentum: 0.1, Eps: 1e-5}
		bn.RunningMean, bn.RunningVar = buffer(t, l.in, 0), buffer(t, l.in, 1)
		done := 0
		bn.Processes = libtorch.NewProcessGroup(func([]float64) error {
			if done++; done > last {
				return errors.New("rank 1 was lost")
			}
			return nil
		})
		err := libtorch.Do(func(s *libtorch.Scope) {
			s.Backward(s.Norm(s.BatchNorm(&bn, parameter(t, in["x"]), libtorch.Tensor{}, libtorch.ReLU, true)))
		})
		if err == nil || err.Error() != "libtorch: "+name+": rank 1 was lost" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnknownBatchForProcesses: what cannot be normalised over processes is refused.
func TestUnknownBatchForProcesses(t *testing.T) {
	if device != libtorch.CPU {
		t.Skip("is for CPUs")
	}
	bn := libtorch.BatchNorm{Weight: buffer(t, 3, 1), Bias: buffer(t, 3, 0), RunningMean: buffer(t, 3, 0),
		RunningVar: buffer(t, 3, 1), Processes: libtorch.NewProcessGroup(func([]float64) error { return nil })}
	err := libtorch.Do(func(s *libtorch.Scope) {
		images := s.Full([]int64{2, 3, 4, 4}, 1, libtorch.Float64, libtorch.CPU)
		s.BatchNorm(&bn, images, libtorch.Tensor{}, libtorch.ReLU, true)
	})
	const want = "only images of float32 or bfloat16 on a CPU can be normalised over several processes"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}
