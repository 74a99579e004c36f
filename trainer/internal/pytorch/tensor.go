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

// AsExact fails the test if got is more than factor times as far from exact, which PyTorch computed in float64, as
// theirs, which it computed in the precision of got. Distances are of all values together: which way a single one is
// rounded differs from processor to processor. Where PyTorch is nearer than floor (see Roundings), by luck or by fewer
// operations, got need not be.
func AsExact(t testing.TB, name string, got, theirs, exact []float64, factor, floor float64) {
	t.Helper()
	if len(got) != len(exact) || len(theirs) != len(exact) || len(exact) == 0 {
		t.Errorf("%s: %d values, PyTorch has %d in this precision and %d in float64", name, len(got), len(theirs),
			len(exact))
		return
	}
	ours, others := Distance(got, exact), Distance(theirs, exact)
	if !(ours <= max(factor*others, floor)) {
		t.Errorf("%s: off by a share of %.2e, PyTorch by %.2e; allowed is %.2e", name, ours, others,
			max(factor*others, floor))
	}
}

// Distance is the norm of a-b as a share of that of b. It is 0 if both are all zero, and infinite if they have
// different lengths.
func Distance(a, b []float64) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var d, n float64
	for i := range b {
		d += (a[i] - b[i]) * (a[i] - b[i])
		n += b[i] * b[i]
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}

// Roundings is what so many roundings to float32, one after the other, can add up to, as a share of the number.
func Roundings(n int) float64 { return float64(n) * 0x1p-24 }
