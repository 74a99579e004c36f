package export

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

var codeCases = map[string]struct {
	spec     v1.ModelSpec
	channels int
	size     int
	format   v1.DatasetFormat
}{
	"Fashion-MNIST":       {fullWidth(model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR)), 1, 32, v1.FashionMNIST},
	"ImageNet stem, grey": {fullWidth(model(v1.GroupNorm, v1.SiLU, v1.StemImageNet)), 1, 40, v1.ImageFolder},
	"narrow":              {model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 3, 16, v1.ImageFolder},
}

// TestCodeOfTheReport runs the programs that a report offers, as they are, on files of its own network, and that of
// README.md on the first job there.
func TestCodeOfTheReport(t *testing.T) {
	if testing.Short() {
		t.Skip("runs PyTorch")
	}
	for name, c := range codeCases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := randomModel(t, c.spec, c.channels, c.size)
			m.Width = c.size
			export := v1.ExportSpec{Formats: []v1.ExportFormat{v1.ExportPyTorch, v1.ExportONNX}}
			_, err := Write(m, export, Card{}, func(name string, data []byte) error {
				return os.WriteFile(filepath.Join(dir, name), data, 0o600)
			})
			must(t, err)
			var photo bytes.Buffer
			must(t, jpeg.Encode(&photo, image.NewRGBA(image.Rect(0, 0, 50, 30)), nil))
			for _, name := range []string{"photo.jpg", "photo.png"} {
				must(t, os.WriteFile(filepath.Join(dir, name), photo.Bytes(), 0o600))
			}
			r := report.Report{
				Data: report.Data{Classes: m.Classes, Height: m.Height, Width: m.Width, Channels: c.channels, Mean: m.Mean, Std: m.Std},
				Spec: v1.ResNetTrainingJobSpec{Model: c.spec, Export: export, Dataset: v1.DatasetSpec{Format: c.format}},
			}
			answers := map[string]string{}
			for _, code := range r.Code() {
				answers[code.Title] = answer(t, dir, code)
			}
			if _, torch := answers["PyTorch"]; torch != (c.spec.WidthMultiplier == 1) {
				t.Errorf("answers: %v", answers)
			}
			if a, b := answers["PyTorch"], answers["ONNX Runtime"]; a != "" && b != "" && a != b {
				t.Errorf("PyTorch says %q, ONNX Runtime %q", a, b)
			}
			if name == "Fashion-MNIST" {
				text, err := os.ReadFile("../../docs/model.md")
				must(t, err)
				code := strings.ReplaceAll(regexp.MustCompile("(?s)```python\n(.*?)```").FindStringSubmatch(string(text))[1], "num_classes=10", "num_classes=5")
				answer(t, dir, report.Code{Title: "PyTorch", Text: code})
			}
		})
	}
}

// answer of a program: the name of a class. "" if there is nothing to run it: ONNX Runtime for Python comes with EDGE.
func answer(t *testing.T, dir string, code report.Code) string {
	t.Helper()
	interpreter := pytorch.Python()
	if code.Title != "PyTorch" {
		edge := os.Getenv("EDGE")
		if edge == "" {
			return ""
		}
		interpreter = filepath.Join(edge, "venv/bin/python")
	}
	cmd := exec.Command(interpreter, "-c", code.Text)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, code.Text, out)
	}
	if got := strings.TrimSpace(string(out)); !strings.HasPrefix(got, "class ") {
		t.Fatalf("%s\n%s", code.Text, got)
	}
	return strings.TrimSpace(string(out))
}
