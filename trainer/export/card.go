package export

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// Card is the model card, model.json: what the model is, how to feed it, and how it came about.
type Card struct {
	// Name of the job, namespace/name.
	Name  string       `json:"name,omitempty"`
	Model v1.ModelSpec `json:"model"`
	// Parameters is the number of trained values.
	Parameters int64 `json:"parameters"`
	Input      Input `json:"input"`
	// Outputs is the number of logits, Classes the names of the first of them.
	Outputs int      `json:"outputs"`
	Classes []string `json:"classes"`

	Dataset  v1.DatasetSpec  `json:"dataset"`
	Training v1.TrainingSpec `json:"training"`
	Result   *Result         `json:"result,omitempty"`

	// Versions of the programs that trained it, such as trainer and libtorch.
	Versions map[string]string `json:"versions,omitempty"`
	// Commit of the trainer's source.
	Commit string `json:"commit,omitempty"`
	// Files of the model by their name.
	Files map[string]File `json:"files"`
}

// Input is what the network takes: float32, batch × Channels × Height × Width.
type Input struct {
	Layout   string `json:"layout"`
	DType    string `json:"dtype"`
	Channels int    `json:"channels"`
	Height   int    `json:"height"`
	Width    int    `json:"width"`
	// Resize is how long the shorter side of a picture is made, bilinearly with antialias, before its centre is cut out; 0:
	// as long as still covers that.
	Resize int `json:"resize,omitempty"`
	// Normalization in words; Mean and Std hold one value for each channel.
	Normalization string    `json:"normalization"`
	Mean          []float64 `json:"mean"`
	Std           []float64 `json:"std"`
}

// Result is what the model reached on the test images.
type Result struct {
	// Checkpoint is the name of the checkpoint with these weights, Epoch and Step how far the training had come.
	Checkpoint string `json:"checkpoint,omitempty"`
	Epoch      int32  `json:"epoch"`
	Step       int64  `json:"step"`
	// Accuracy (top-1) is in [0, 1]; it and TestLoss are absent where this epoch was not tested.
	Accuracy *float64 `json:"accuracy,omitempty"`
	TestLoss *float64 `json:"testLoss,omitempty"`
	// Int8Accuracy and Int8Agreement are those of the network quantised, after quantisation-aware training.
	Int8Accuracy  *float64 `json:"int8Accuracy,omitempty"`
	Int8Agreement *float64 `json:"int8Agreement,omitempty"`
}

// File is one of the model's files.
type File struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Input says in words what the file's model takes, where that differs from the card's.
	Input string `json:"input,omitempty"`
	// Quantization is that of model.int8.onnx.
	Quantization *Quantization `json:"quantization,omitempty"`
}

// describe fills in what follows from the model.
func (c *Card) describe(m *Model, n *arch.Network) {
	c.Model, c.Parameters, c.Outputs, c.Classes = m.Spec, n.Parameters(), n.Config.Classes, m.Classes
	c.Model.Stem = arch.StemOf(m.Spec, m.Height, m.Width)
	c.Input = Input{Layout: "NCHW", DType: "float32", Channels: n.Config.Channels, Height: m.Height, Width: m.Width,
		Resize: m.Resize, Normalization: "(pixel / 255 - mean) / std", Mean: m.Mean, Std: m.Std}
}

// Encode returns the content of model.json.
func (c *Card) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(c)
	return b.Bytes(), err
}

// DecodeCard is the inverse of Encode.
func DecodeCard(data []byte) (*Card, error) {
	c := &Card{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s is no model card: %w", CardFile, err)
	}
	return c, nil
}
