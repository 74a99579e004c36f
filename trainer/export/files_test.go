package export

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

var everyFormat = []v1.ExportFormat{v1.ExportSafetensors, v1.ExportPyTorch, v1.ExportONNX}

// written are the files of a small model.
func written(t *testing.T, spec v1.ExportSpec) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	m := randomModel(t, model(v1.GroupNorm, v1.GELU, v1.StemCIFAR), 3, 8)
	m.Spec.Stem = "" // the default
	card := Card{Name: "default/tiny", Result: &Result{Epoch: 3, Step: 30, Accuracy: new(0.75)}, Versions: map[string]string{"trainer": "v1"}}
	_, err := Write(m, spec, card, func(name string, content []byte) error {
		files[name] = content
		return nil
	})
	must(t, err)
	return files
}

func TestSameModelSameBytes(t *testing.T) {
	spec := v1.ExportSpec{Formats: everyFormat, IncludeNormalization: true}
	first, second := written(t, spec), written(t, spec)
	if diff := cmp.Diff([]string{CardFile, ONNXFile, PTFile, SafetensorsFile}, slices.Sorted(maps.Keys(first))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if !maps.EqualFunc(first, second, bytes.Equal) {
		t.Error("the same model gives other bytes")
	}
}

func TestCard(t *testing.T) {
	files := written(t, v1.ExportSpec{Formats: []v1.ExportFormat{v1.ExportONNX}, IncludeNormalization: true})
	card, err := DecodeCard(files[CardFile])
	must(t, err)
	onnx := card.Files[ONNXFile]
	switch {
	case len(card.Files) != 1, onnx.Bytes != int64(len(files[ONNXFile])), len(onnx.SHA256) != 64, onnx.Input != "pixel / 255: the graph normalises":
		t.Errorf("files: %+v", card.Files)
	case card.Outputs != 5, len(card.Classes) != 5, card.Input.Channels != 3, card.Input.Height != 8, card.Input.Width != 11, len(card.Input.Std) != 3:
		t.Errorf("card: %+v", card)
	case *card.Result.Accuracy != 0.75, card.Model.Normalization != v1.GroupNorm, card.Model.Stem != v1.StemCIFAR:
		t.Errorf("card: %+v", card)
	}
	var object map[string]any
	must(t, json.Unmarshal(files[CardFile], &object))
}

func TestModelsThatDoNotFit(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(m *Model)
		want   string
	}{
		"missing":      {func(m *Model) { delete(m.State, "layer2.0.bn1.bias") }, "missing key layer2.0.bn1.bias"},
		"unexpected":   {func(m *Model) { m.State["extra"] = m.State["fc.bias"] }, "unexpected key extra"},
		"shape":        {func(m *Model) { m.State["fc.bias"] = m.State["bn1.bias"] }, "fc.bias is F32[8], the network needs F32[5]"},
		"dimensions":   {func(m *Model) { m.State["conv1.weight"] = m.State["fc.bias"] }, "conv1.weight has shape [5], it must have 4 dimensions"},
		"stem":         {func(m *Model) { m.Spec.Stem, m.Height, m.Width = v1.StemImageNet, 45, 45 }, "conv1.weight is F32[8 3 3 3], the network needs F32[8 3 7 7]"},
		"architecture": {func(m *Model) { m.Spec.Architecture = "ResNet999" }, `spec.model.architecture: "ResNet999"`},
		"width":        {func(m *Model) { m.Spec.WidthMultiplier = 1 }, "conv1.weight is F32[8 3 3 3], the network needs F32[64 3 3 3]"},
		"least size":   {func(m *Model) { m.Height = 7 }, "spec.model.stem CIFAR needs images of at least 8×8 pixels"},
		"depth":        {func(m *Model) { m.Spec.Architecture = v1.ResNet34 }, "state dict: it is of the architecture ResNet18, spec.model.architecture is ResNet34"},
		"norm":         {func(m *Model) { m.Spec.Normalization = v1.BatchNorm }, "missing key bn1.running_mean"},
		"groups":       {func(m *Model) { m.Spec = withGroups(m.Spec, 3) }, "spec.model.normalizationGroups is 3, which does not divide the channels of every stage, [8 16 32 64]"},
		"mean":         {func(m *Model) { m.Mean = nil }, "mean and std have 0 and 3 values, the network has 3 input channels"},
		"std":          {func(m *Model) { m.Std[1] = math.NaN() }, "std is NaN, it must be positive"},
		"classes":      {func(m *Model) { m.Classes = slices.Repeat(m.Classes, 2) }, "there are 10 class names, the network has 5 outputs"},
		"size":         {func(m *Model) { m.Height = 0 }, "the input is 0×11 pixels"},
	} {
		t.Run(name, func(t *testing.T) {
			m := randomModel(t, model(v1.GroupNorm, v1.GELU, v1.StemCIFAR), 3, 8)
			test.damage(m)
			_, err := Write(m, v1.ExportSpec{Formats: everyFormat}, Card{}, func(string, []byte) error {
				t.Error("wrote a file")
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if err := checkSize(2 << 30); err == nil || !strings.Contains(err.Error(), "spec.export.formats") {
		t.Errorf("got %v", err)
	}
}
