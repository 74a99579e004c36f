package libtorch

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestRecordTop1: the rows of a batch go to their place, and no others change.
func TestRecordTop1(t *testing.T) {
	var data []byte
	for _, logit := range []float32{0, 0, 0, 1, 2, 0} {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(logit))
	}
	e := math.E
	want := []float64{0, 0, 0, 1. / 3, 1, e * e / (1 + e + e*e), 0, 0}
	err := Do(func(s *Scope) {
		into, logits := s.Zeros([]int64{4, 2}, Float64, CPU), s.Zeros([]int64{2, 3}, Float32, CPU)
		s.Fail(SetBytes(logits, data))
		s.RecordTop1(into, 1, logits)
		got, err := Values[float64](into)
		s.Fail(err)
		for i := range got {
			if i != 2 && math.Abs(got[i]-want[i]) > 1e-6 { // any of three equal ones is the largest
				t.Errorf("number %d is %g, want %g", i, got[i], want[i])
			}
		}
		if s.RecordTop1(into, 3, logits); s.Err() == nil {
			t.Error("rows beyond the end were written")
		}
	})
	if err == nil {
		t.Error("no error")
	}
}
