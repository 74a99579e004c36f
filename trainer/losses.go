package trainer

import (
	"math"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// losses holds the losses of the last steps on the device until somebody reads them, so that a step need not wait for
// its own result.
type losses struct {
	buffer libtorch.Tensor // float32
	n      int
}

// lossWindow is the number of steps after which the losses must be read: so late is a divergence noticed.
const lossWindow = 32

func newLosses(d libtorch.Device) (*losses, error) {
	l := &losses{}
	err := libtorch.Do(func(s *libtorch.Scope) {
		l.buffer = s.Keep(s.Zeros([]int64{lossWindow}, libtorch.Float32, d))
	})
	return l, err
}

func (l *losses) add(s *libtorch.Scope, loss libtorch.Tensor) {
	s.SetAt(l.buffer, l.n, loss)
	l.n++
}

func (l *losses) full() bool { return l.n == lossWindow }

// read returns the losses since the last call.
func (l *losses) read() ([]float32, error) {
	values, err := libtorch.Values[float32](l.buffer)
	if err != nil {
		return nil, err
	}
	values = values[:l.n]
	l.n = 0
	return values, nil
}

// readLosses adds the losses of the last steps to the epoch's sum, one by one, so that the sum does not depend on when
// it is called. It is an error if one is not finite: then the weights are lost.
func (r *run) readLosses() error {
	values, err := r.losses.read()
	if err != nil {
		return err
	}
	for i, v := range values {
		loss := float64(v)
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return r.diverged("the loss", loss, r.meta.Step-int64(len(values)-1-i))
		}
		r.meta.LossSum += loss
	}
	return nil
}

// meanLoss of the steps of the current epoch whose losses were read.
func (r *run) meanLoss() float64 {
	return r.meta.LossSum / float64(max(1, r.meta.StepInEpoch-r.losses.n))
}

// total sums up an evaluation on the device.
type total struct {
	loss    libtorch.Tensor // float64 scalar
	correct libtorch.Tensor // int64 scalar
}

func newTotal(d libtorch.Device) (t total, err error) {
	err = libtorch.Do(func(s *libtorch.Scope) {
		t.loss = s.Keep(s.Zeros(nil, libtorch.Float64, d))
		t.correct = s.Keep(s.Zeros(nil, libtorch.Int64, d))
	})
	return t, err
}

// mean over n images.
func (t total) mean(n int) (testResult, error) {
	loss, err := libtorch.Values[float64](t.loss)
	if err != nil {
		return testResult{}, err
	}
	correct, err := libtorch.Values[int64](t.correct)
	if err != nil {
		return testResult{}, err
	}
	return testResult{loss[0] / float64(n), float64(correct[0]) / float64(n)}, nil
}
