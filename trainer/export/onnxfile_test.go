package export

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// onnxFile is what tests read of a ModelProto.
type onnxFile struct {
	nodes        []onnxNode
	initializers map[string]array
}

type onnxNode struct {
	op, name        string
	inputs, outputs []string
	ints            map[string][]int64
	floats          map[string]float64
}

// array is a tensor in row-major order.
type array struct {
	shape []int
	data  []float64
}

func (a array) size() (n int) {
	n = 1
	for _, s := range a.shape {
		n *= s
	}
	return n
}

// dims is the shape as the scripts of tools/onnxruntime take it.
func (a array) dims() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(a.shape), " ", ","), "[]")
}

// parseONNX reads the graph of a file, of this package or of ONNX Runtime.
func parseONNX(t testing.TB, data []byte) *onnxFile {
	t.Helper()
	f := &onnxFile{initializers: map[string]array{}}
	fields(t, data, func(field protowire.Number, _ uint64, model []byte) {
		if field != 7 { // graph
			return
		}
		fields(t, model, func(field protowire.Number, _ uint64, b []byte) {
			switch field {
			case 1:
				f.nodes = append(f.nodes, parseNode(t, b))
			case 5:
				name, a := parseTensor(t, b)
				f.initializers[name] = a
			}
		})
	})
	return f
}

func parseNode(t testing.TB, data []byte) onnxNode {
	n := onnxNode{ints: map[string][]int64{}, floats: map[string]float64{}}
	fields(t, data, func(field protowire.Number, _ uint64, b []byte) {
		switch field {
		case 1:
			n.inputs = append(n.inputs, string(b))
		case 2:
			n.outputs = append(n.outputs, string(b))
		case 3:
			n.name = string(b)
		case 4:
			n.op = string(b)
		case 5:
			var name string
			fields(t, b, func(field protowire.Number, v uint64, b []byte) {
				switch field {
				case 1:
					name = string(b)
				case 2:
					n.floats[name] = float64(math.Float32frombits(uint32(v)))
				case 3, 8:
					n.ints[name] = append(n.ints[name], int64(v))
				}
			})
		}
	})
	return n
}

func parseTensor(t testing.TB, data []byte) (name string, a array) {
	var dtype uint64
	var raw []byte
	fields(t, data, func(field protowire.Number, v uint64, b []byte) {
		switch field {
		case 1:
			a.shape = append(a.shape, int(v))
		case 2:
			dtype = v
		case 8:
			name = string(b)
		case 9:
			raw = b
		}
	})
	a.data = make([]float64, a.size())
	for i := range a.data {
		switch dtype {
		case onnxFloat:
			a.data[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		case onnxUint8:
			a.data[i] = float64(raw[i])
		case onnxInt8:
			a.data[i] = float64(int8(raw[i]))
		case onnxInt32:
			a.data[i] = float64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		case onnxInt64:
			a.data[i] = float64(int64(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	}
	return name, a
}

// fields calls visit with every field of a message: the number v, or the bytes b.
func fields(t testing.TB, data []byte, visit func(field protowire.Number, v uint64, b []byte)) {
	t.Helper()
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		data = data[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var bits uint32
			bits, n = protowire.ConsumeFixed32(data)
			v = uint64(bits)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(data)
		default:
			b, n = protowire.ConsumeBytes(data)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		visit(field, v, b)
		data = data[n:]
	}
}
