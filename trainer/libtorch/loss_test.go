package libtorch_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// TestLossOfBFloat16: the loss of logits in bfloat16 is not rounded to bfloat16, with or without autocast.
func TestLossOfBFloat16(t *testing.T) {
	const n, classes = 512, 10
	rng := rand.New(rand.NewPCG(3, 4))
	data, logits := make([]byte, 2*n*classes), make([]float64, n*classes)
	for i := range logits {
		bits := math.Float32bits(float32(3 * rng.NormFloat64()))
		binary.LittleEndian.PutUint16(data[2*i:], uint16(bits>>16))
		logits[i] = float64(math.Float32frombits(bits >> 16 << 16))
	}
	labels, want := make([]int64, n), 0.0
	for i := range labels {
		labels[i] = rng.Int64N(classes)
		row, sum := logits[i*classes:(i+1)*classes], 0.0
		for _, x := range row {
			sum += math.Exp(x)
		}
		want += math.Log(sum) - row[labels[i]]
	}
	near := func(what string, got []float64, want float64) {
		t.Helper()
		if len(got) != 1 || math.Abs(got[0]/want-1) > 1e-6 {
			t.Errorf("%s is %v, not %v", what, got, want)
		}
	}
	err := libtorch.Do(func(s *libtorch.Scope) {
		x, y := s.Zeros([]int64{n, classes}, libtorch.BFloat16, libtorch.CPU), s.Labels(labels, libtorch.CPU)
		s.Fail(libtorch.SetBytes(x, data))
		near("the mean", floats(t, libtorch.CrossEntropy{}.Of(s, x, y)), want/n)
		s.Autocast(libtorch.CPU, libtorch.BFloat16, func() {
			near("the mean in autocast", floats(t, libtorch.CrossEntropy{}.Of(s, x, y)), want/n)
		})
		sum, err := libtorch.Values[float64](s.CrossEntropySum(x, y))
		s.Fail(err)
		near("the sum", sum, want)
	})
	if err != nil {
		t.Fatal(err)
	}
}
