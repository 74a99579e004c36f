package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/internal/onnxruntime"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/internal/readers"
)

const images = 3

type formatCase struct {
	spec     v1.ModelSpec
	channels int
	size     int
}

var formatCases = map[string]formatCase{
	"full width":    {fullWidth(model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR)), 3, 32},
	"ImageNet stem": {model(v1.BatchNorm, v1.ReLU, v1.StemImageNet), 3, 45},
	"grey":          {model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 1, 28},
	"odd size":      {model(v1.GroupNorm, v1.ReLU, v1.StemImageNet), 3, 37},
	"least size":    {model(v1.LayerNorm, v1.ReLU, v1.StemCIFAR), 1, 8},
	"TinyBatchNorm": {model(v1.TinyBatchNorm, v1.Hardswish, v1.StemCIFAR), 3, 16},
	"GroupNorm":     {model(v1.GroupNorm, v1.ReLU, v1.StemCIFAR), 3, 16},
	"two groups":    {withGroups(model(v1.GroupNorm, v1.GELU, v1.StemCIFAR), 2), 3, 16},
	"LayerNorm":     {model(v1.LayerNorm, v1.SiLU, v1.StemCIFAR), 3, 16},
	"LeakyReLU":     {model(v1.BatchNorm, v1.LeakyReLU, v1.StemCIFAR), 3, 16},
	"SiLU":          {model(v1.BatchNorm, v1.SiLU, v1.StemCIFAR), 3, 16},
	"GELU":          {model(v1.BatchNorm, v1.GELU, v1.StemCIFAR), 3, 16},
	"Hardswish":     {model(v1.BatchNorm, v1.Hardswish, v1.StemCIFAR), 3, 16},
	"ResNet34":      {deep(v1.ResNet34, model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR)), 3, 16},
	"ResNet50":      {deep(v1.ResNet50, model(v1.BatchNorm, v1.ReLU, v1.StemImageNet)), 3, 64},
	"ResNet101":     {deep(v1.ResNet101, model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR)), 3, 16},
	"ResNet152":     {deep(v1.ResNet152, model(v1.GroupNorm, v1.ReLU, v1.StemCIFAR)), 1, 16},
}

func deep(architecture v1.Architecture, spec v1.ModelSpec) v1.ModelSpec {
	spec.Architecture = architecture
	return spec
}

func fullWidth(spec v1.ModelSpec) v1.ModelSpec {
	spec.WidthMultiplier = 1
	return spec
}

func withGroups(spec v1.ModelSpec, groups int32) v1.ModelSpec {
	spec.NormalizationGroups = &groups
	return spec
}

// TestFormatsAgree opens every file that is exported in the programs that it is for: torchvision's network loads model.pt
// and model.safetensors, ONNX Runtime for Node.js and for Python run model.onnx, and all give the same logits.
func TestFormatsAgree(t *testing.T) {
	onnxruntime.Folder(t)
	readers.Folder(t)
	var folders, runs, inPython []string
	for name, c := range formatCases {
		dir := filepath.Join(t.TempDir(), name)
		folders = append(folders, dir)
		exportCase(t, dir, c)
		file := func(name string) string { return filepath.Join(dir, name) }
		shape := func(n int) string { return fmt.Sprintf("%d,%d,%d,%d", n, c.channels, c.size, c.size+3) }
		runs = append(runs,
			file("model.onnx"), file("input.f32"), shape(images), file("onnx.f32"),
			file("model.onnx"), file("first.f32"), shape(1), file("onnx1.f32"),
			file("normalizing.onnx"), file("pixels.f32"), shape(images), file("normalizing.f32"))
		inPython = append(inPython,
			file("model.onnx"), file("input.f32"), shape(images), file("python.f32"),
			file("normalizing.onnx"), file("pixels.f32"), shape(images), file("normalizing-python.f32"))
	}
	peer(t, "logits", folders...)
	onnxruntime.Run(t, "run.mjs", runs...)
	readers.Run(t, "testdata/onnx_readers.py", append([]string{"run"}, inPython...)...)
	for _, dir := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			theirs, exact := readFloats(t, dir, "pt.f32"), readFloats(t, dir, "exact.f32")
			for name, file := range map[string]string{
				"model.onnx": "onnx.f32", "model.onnx with batch 1": "onnx1.f32", "model.onnx on pixels": "normalizing.f32",
				"model.onnx in Python": "python.f32", "model.onnx on pixels in Python": "normalizing-python.f32",
			} {
				got := readFloats(t, dir, file)
				n := min(len(exact), len(got))
				// Some 50 operations, one after the other, round their results.
				pytorch.AsExact(t, name, got, theirs[:n], exact[:n], 4, pytorch.Roundings(50))
			}
		})
	}
}

// exportCase writes a model in all formats, and images to try it on.
func exportCase(t *testing.T, dir string, c formatCase) {
	t.Helper()
	m := randomModel(t, c.spec, c.channels, c.size)
	write := func(name string, data []byte) error { return os.WriteFile(filepath.Join(dir, name), data, 0o600) }
	must(t, os.MkdirAll(dir, 0o700))
	_, err := Write(m, v1.ExportSpec{Formats: []v1.ExportFormat{v1.ExportSafetensors, v1.ExportPyTorch, v1.ExportONNX}}, Card{}, write)
	must(t, err)
	var normalizing bytes.Buffer
	must(t, ONNX(&normalizing, m, ONNXOptions{IncludeNormalization: true}))
	must(t, write("normalizing.onnx", normalizing.Bytes()))

	rng := rand.New(rand.NewPCG(3, 4))
	plane := m.Height * m.Width
	pixels, input := make([]float32, images*c.channels*plane), make([]float32, images*c.channels*plane)
	for i := range pixels {
		channel := i / plane % c.channels
		pixels[i] = float32(rng.IntN(256)) / 255
		input[i] = (pixels[i] - float32(m.Mean[channel])) / float32(m.Std[channel])
	}
	must(t, write("pixels.f32", encodeFloats(pixels)))
	must(t, write("input.f32", encodeFloats(input)))
	must(t, write("first.f32", encodeFloats(input[:len(input)/images])))

	n, err := m.check()
	must(t, err)
	spec, err := json.Marshal(map[string]any{"architecture": c.spec.Architecture, "stem": c.spec.Stem, "normalization": c.spec.Normalization,
		"activation": c.spec.Activation, "groups": max(n.Config.Groups, 1), "widths": n.Config.Widths, "channels": c.channels, "classes": n.Config.Classes,
		"shape": []int{images, c.channels, m.Height, m.Width}})
	must(t, err)
	must(t, write("spec.json", spec))
}

// peer runs a command of testdata/peer.py.
func peer(t *testing.T, command string, folders ...string) {
	t.Helper()
	python := pytorch.Python()
	if log, err := exec.Command(python, append([]string{"testdata/peer.py", command}, folders...)...).CombinedOutput(); err != nil {
		t.Fatalf("%s (make packages): %v\n%s", python, err, log)
	}
}

func readFloats(t *testing.T, dir, name string) []float64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return floatsOf(data)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
