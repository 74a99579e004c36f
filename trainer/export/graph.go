package export

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// graph is an ONNX GraphProto under construction. Numbers of fields and types are those of onnx.proto3 (IR version 7):
// https://github.com/onnx/onnx/blob/v1.8.0/onnx/onnx.proto3.
type graph struct {
	nodes, initializers message
	names               map[string]bool // of initializers
}

// Values of TensorProto.DataType.
const (
	onnxFloat = 1
	onnxUint8 = 2
	onnxInt8  = 3
	onnxInt32 = 6
	onnxInt64 = 7
)

// attribute of a node: an int64, a float32 or a []int64.
type attribute struct {
	name  string
	value any
}

// node appends an operator with one output, which has the node's name.
func (g *graph) node(op, name string, inputs []string, attributes ...attribute) string {
	g.nodes.message(1, func(n *message) {
		for _, in := range inputs {
			n.text(1, in)
		}
		n.text(2, name)
		n.text(3, name)
		n.text(4, op)
		for _, a := range attributes {
			n.message(5, a.write)
		}
	})
	return name
}

func (a attribute) write(m *message) {
	const typeFloat, typeInt, typeInts = 1, 2, 7
	m.text(1, a.name)
	switch v := a.value.(type) {
	case float32:
		m.float(2, math.Float32bits(v))
		m.int(20, typeFloat)
	case int64:
		m.int(3, v)
		m.int(20, typeInt)
	case []int64:
		for _, i := range v {
			m.int(8, i)
		}
		m.int(20, typeInts)
	}
}

// tensor appends an initializer unless there is one of this name, and returns the name.
func (g *graph) tensor(name string, dtype int64, shape []int64, raw []byte) string {
	if g.names[name] {
		return name
	}
	if g.names == nil {
		g.names = map[string]bool{}
	}
	g.names[name] = true
	g.initializers.message(5, func(t *message) {
		for _, size := range shape {
			t.int(1, size)
		}
		t.int(2, dtype)
		t.text(8, name)
		t.bytes(9, raw)
	})
	return name
}

func (g *graph) floats(name string, shape []int64, values []float64) string {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(v)))
	}
	return g.tensor(name, onnxFloat, shape, raw)
}

func (g *graph) ints(name string, values ...int64) string {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return g.tensor(name, onnxInt64, []int64{int64(len(values))}, raw)
}

func (g *graph) int8s(name string, shape []int64, values []int8) string {
	raw := make([]byte, len(values))
	for i, v := range values {
		raw[i] = byte(v)
	}
	return g.tensor(name, onnxInt8, shape, raw)
}

func (g *graph) int32s(name string, values []int32) string {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(v))
	}
	return g.tensor(name, onnxInt32, []int64{int64(len(values))}, raw)
}

// valueInfo describes a float32 input or output; a dimension is an int or, where it is free, its name.
func valueInfo(name string, dims ...any) func(*message) {
	return func(m *message) {
		m.text(1, name)
		m.message(2, func(typ *message) {
			typ.message(1, func(tensor *message) {
				tensor.int(1, onnxFloat)
				tensor.message(2, func(shape *message) {
					for _, d := range dims {
						shape.message(1, func(dim *message) {
							switch d := d.(type) {
							case int:
								dim.int(1, int64(d))
							case string:
								dim.text(2, d)
							}
						})
					}
				})
			})
		})
	}
}

// floatsOf a tensor of type F32.
func floatsOf(data []byte) []float64 {
	values := make([]float64, len(data)/4)
	for i := range values {
		values[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return values
}

func allFinite(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

// checkSize fails if tensors of that many bytes do not fit: protocol buffers end at 2 GiB.
func checkSize(bytes int64) error {
	if bytes > math.MaxInt32-1<<20 {
		return fmt.Errorf("the model has %d bytes, an ONNX file can hold 2 GiB: choose a smaller spec.model.widthMultiplier, or leave ONNX out of spec.export.formats", bytes)
	}
	return nil
}
