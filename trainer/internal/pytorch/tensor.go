package pytorch

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// Pack makes a tensor of []float32 (F32), []float64 (F64), []int64 (I64) or []byte (U8).
func Pack(values any, shape ...int64) checkpoint.Tensor {
	var dtype string
	switch values.(type) {
	case []float32:
		dtype = "F32"
	case []float64:
		dtype = "F64"
	case []int64:
		dtype = "I64"
	case []byte:
		dtype = "U8"
	default:
		panic("pytorch.Pack: no such dtype")
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, values)
	return checkpoint.Tensor{DType: dtype, Shape: shape, Data: b.Bytes()}
}

// Floats returns the content of a tensor of floats.
func Floats(t checkpoint.Tensor) []float64 {
	size := map[string]int{"BF16": 2, "F32": 4, "F64": 8}[t.DType]
	values := make([]float64, len(t.Data)/size)
	for i := range values {
		switch d := t.Data[i*size:]; t.DType {
		case "BF16": // the upper half of a float32
			values[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(d)) << 16))
		case "F32":
			values[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(d)))
		case "F64":
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(d))
		}
	}
	return values
}

// Compare fails the test if got differs from want by more than tolerance, relative to the largest value of want.
func Compare(t testing.TB, name string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%s: %d values, PyTorch has %d", name, len(got), len(want))
		return
	}
	var largest, worst float64
	for i := range want {
		largest = max(largest, math.Abs(want[i]))
		worst = max(worst, math.Abs(got[i]-want[i]))
	}
	if !(worst <= tolerance*largest) {
		t.Errorf("%s: off by %.3g of %.3g, allowed is a share of %.0e", name, worst, largest, tolerance)
	}
}
