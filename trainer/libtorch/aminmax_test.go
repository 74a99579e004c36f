package libtorch

import (
	"math"
	"slices"
	"testing"
)

func TestAMinMax(t *testing.T) {
	for name, test := range map[string]struct {
		pixels    []byte
		std       float32
		low, high float32
	}{
		"images":       {[]byte{3, 9, 0, 255, 7, 8, 4, 4}, 1. / 255, 0, 255},
		"not a number": {make([]byte, 8), 0, float32(math.NaN()), float32(math.NaN())},
	} {
		err := Do(func(s *Scope) {
			x := s.Images(test.pixels, 1, 2, 2, []float32{0, 0}, []float32{test.std, test.std}, CPU) // channels_last
			ends, err := Values[float32](s.AMinMax(x))
			s.Fail(err)
			same := func(got, want float32) bool { return math.Abs(float64(got-want)) < 1e-4 || got != got && want != want }
			if len(ends) != 2 || !same(ends[0], test.low) || !same(ends[1], test.high) {
				t.Errorf("%s: %v, want %v and %v", name, ends, test.low, test.high)
			}
			vector, _ := Values[float32](s.AMinMax(s.Full([]int64{3}, -2, Float32, CPU)))
			if !slices.Equal(vector, []float32{-2, -2}) {
				t.Errorf("of a vector: %v", vector)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
