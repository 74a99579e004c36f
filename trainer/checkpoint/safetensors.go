package checkpoint

import (
	"fmt"
	"math"
	"slices"

	"github.com/nlpodyssey/safetensors"
)

// EncodeSafetensors returns a file in the format of github.com/huggingface/safetensors; metadata may be nil. The same
// tensors give the same bytes.
func EncodeSafetensors(d StateDict, metadata map[string]string) ([]byte, error) {
	s, err := encode(d, metadata)
	if err != nil {
		return nil, err
	}
	return slices.Concat(s.parts...), nil
}

// DecodeSafetensors is the inverse of EncodeSafetensors. The tensors share data's memory.
func DecodeSafetensors(data []byte) (StateDict, map[string]string, error) {
	n, header, err := safetensors.ReadMetadata(data)
	if err != nil {
		return nil, nil, err
	}
	d := make(StateDict, len(header.Tensors()))
	body := data[8+n:]
	for name, info := range header.Tensors() {
		shape := make([]int64, len(info.Shape))
		for i, size := range info.Shape {
			if size > math.MaxInt64 {
				return nil, nil, fmt.Errorf("tensor %s: size %d of dimension %d is too large", name, size, i)
			}
			shape[i] = int64(size)
		}
		d[name] = Tensor{info.DType.String(), shape, body[info.DataOffsets[0]:info.DataOffsets[1]:info.DataOffsets[1]]}
	}
	return d, header.Metadata(), nil
}

// view implements safetensors.View. The library's own TensorView refuses scalars, whose shape is empty.
type view struct {
	dtype safetensors.DType
	shape []uint64 // never nil: nil would be written as null
	data  []byte
}

func (v view) DType() safetensors.DType { return v.dtype }
func (v view) Shape() []uint64          { return v.shape }
func (v view) Data() []byte             { return v.data }
func (v view) DataLen() uint64          { return uint64(len(v.data)) }

func viewOf(t Tensor) (view, error) {
	dtype, err := safetensors.ParseDType(t.DType)
	if err != nil {
		return view{}, err
	}
	shape, want := make([]uint64, len(t.Shape)), dtype.Size()
	for i, size := range t.Shape {
		shape[i] = uint64(size)
		want *= uint64(size)
	}
	if uint64(len(t.Data)) != want {
		return view{}, fmt.Errorf("%s of shape %v needs %d bytes, got %d", t.DType, t.Shape, want, len(t.Data))
	}
	return view{dtype, shape, t.Data}, nil
}
