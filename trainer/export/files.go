package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Names of the files.
const (
	SafetensorsFile = "model.safetensors"
	PTFile          = "model.pt"
	ONNXFile        = "model.onnx"
	ONNXInt8File    = "model.int8.onnx"
	CardFile        = "model.json"
)

// Write makes the files that spec asks for and hands them to put, one after the other, and at last the card, whose files
// are all there then. card holds what does not follow from the model; the one returned is whole.
func Write(m *Model, spec v1.ExportSpec, card Card, put func(name string, content []byte) error) (*Card, error) {
	n, err := m.check()
	if err != nil {
		return nil, err
	}
	card.describe(m, n)
	card.Files = map[string]File{}
	onnx := func(write func(io.Writer, *Model, ONNXOptions) error) func() ([]byte, error) {
		return func() ([]byte, error) {
			var b bytes.Buffer
			err := write(&b, m, ONNXOptions{IncludeNormalization: spec.IncludeNormalization, Producer: card.Versions["trainer"],
				ReduceRange: spec.ReduceRange})
			return b.Bytes(), err
		}
	}
	for _, f := range []struct {
		name   string
		format v1.ExportFormat
		make   func() ([]byte, error)
	}{
		{SafetensorsFile, v1.ExportSafetensors, func() ([]byte, error) { return Safetensors(m) }},
		{PTFile, v1.ExportPyTorch, func() ([]byte, error) {
			var b bytes.Buffer
			err := PT(&b, m)
			return b.Bytes(), err
		}},
		{ONNXFile, v1.ExportONNX, onnx(ONNX)},
		{ONNXInt8File, v1.ExportONNXInt8, onnx(ONNXInt8)},
	} {
		if !slices.Contains(spec.Formats, f.format) {
			continue
		}
		data, err := f.make()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if err := put(f.name, data); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		file := File{Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
		if spec.IncludeNormalization && (f.format == v1.ExportONNX || f.format == v1.ExportONNXInt8) {
			file.Input = "pixel / 255: the graph normalises"
		}
		if f.format == v1.ExportONNXInt8 {
			file.Quantization = quantizationOf(m, n.Config, spec)
		}
		card.Files[f.name] = file
	}
	data, err := card.Encode()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CardFile, err)
	}
	return &card, put(CardFile, data)
}
