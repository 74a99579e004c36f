package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Names of the files.
const (
	SafetensorsFile = "model.safetensors"
	PTFile          = "model.pt"
	ONNXFile        = "model.onnx"
	CardFile        = "model.json"
)

// Write makes the files that spec asks for and hands them to put, one after the other, and at last the card, whose files
// are all there then. card holds what does not follow from the model.
func Write(m *Model, spec v1.ExportSpec, card Card, put func(name string, content []byte) error) error {
	n, err := m.check()
	if err != nil {
		return err
	}
	card.describe(m, n)
	card.Files = map[string]File{}
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
		{ONNXFile, v1.ExportONNX, func() ([]byte, error) {
			var b bytes.Buffer
			err := ONNX(&b, m, ONNXOptions{IncludeNormalization: spec.IncludeNormalization, Producer: card.Versions["trainer"]})
			return b.Bytes(), err
		}},
	} {
		if !slices.Contains(spec.Formats, f.format) {
			continue
		}
		data, err := f.make()
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := put(f.name, data); err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		file := File{Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
		if f.format == v1.ExportONNX && spec.IncludeNormalization {
			file.Input = "pixel / 255: the graph normalises"
		}
		card.Files[f.name] = file
	}
	data, err := card.Encode()
	if err != nil {
		return fmt.Errorf("%s: %w", CardFile, err)
	}
	return put(CardFile, data)
}
