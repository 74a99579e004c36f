package trainer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/internal/onnxruntime"
)

// int8Job learns enough for classes to be told apart.
func int8Job(dir string, changes ...func(s *spec)) *v1.ResNetTrainingJob {
	return testJob(dir, append([]func(s *spec){func(s *spec) {
		s.Dataset.MaxTrainImages, s.Dataset.MaxTestImages = new(int32(1500)), new(int32(1000))
		s.Training.Epochs, s.Training.BatchSize, s.Training.Schedule.MaxLR = 3, 32, 1e-2
		s.Export = v1.ExportSpec{Formats: []v1.ExportFormat{v1.ExportONNX, v1.ExportONNXInt8}, CalibrationBatches: 8}
	}}, changes...)...)
}

// TestInt8Accuracy: on the test images, in ONNX Runtime, the int8 model of a job is as good as the float one. An export
// of the same weights makes the same bytes.
func TestInt8Accuracy(t *testing.T) {
	onnxruntime.Folder(t)
	dir := t.TempDir()
	job := int8Job(dir)
	if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
		t.Fatal(err)
	}
	int8Model := read(t, dir, contract.ModelPrefix+"/"+export.ONNXInt8File)
	files, log := exported(t, job, ExportOptions{Spec: job.Spec.Export})
	if !bytes.Equal(files[export.ONNXInt8File], int8Model) {
		t.Error("an export of the same weights makes another int8 model")
	}
	if !strings.Contains(log, "calibrationImages=256 inFloat=nothing") {
		t.Errorf("log: %s", log)
	}

	d, err := loadData(t.Context(), job, "")
	if err != nil {
		t.Fatal(err)
	}
	float := classesInONNXRuntime(t, d, path(dir, contract.ModelPrefix+"/"+export.ONNXFile))
	quantised := classesInONNXRuntime(t, d, path(dir, contract.ModelPrefix+"/"+export.ONNXInt8File))
	var floatRight, int8Right, differ float64
	for i, label := range d.Test.Labels {
		floatRight += one(float[i] == label)
		int8Right += one(quantised[i] == label)
		differ += one(float[i] != quantised[i])
	}
	metrics := metricsLines(t, read(t, dir, contract.MetricsKey(1)))
	images := float64(d.Test.N)
	if trained := *metrics[len(metrics)-1].Accuracy; math.Abs(floatRight/images-trained) > 0.001 || trained < 0.5 {
		t.Errorf("accuracy of the float model: %v, in training %v", floatRight/images, trained)
	}
	t.Logf("of %v images float has %v right, int8 %v; the class of %v differs", images, floatRight, int8Right, differ)
	// Half a point, and two standard deviations of what chance makes of the images whose class differs.
	if int8Right < floatRight-0.005*images-2*math.Sqrt(differ) || differ > 0.03*images {
		t.Errorf("of %v images float has %v right, int8 %v; the class of %v differs", images, floatRight, int8Right, differ)
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// classesInONNXRuntime are those with the largest logit, of the test images.
func classesInONNXRuntime(t *testing.T, d *data.Dataset, model string) (classes []int64) {
	t.Helper()
	dir, im := t.TempDir(), &d.Test
	var input []byte
	for n := range im.N {
		for c := range im.C {
			for i := range im.H * im.W {
				v := (float32(im.Pixels[(n*im.H*im.W+i)*im.C+c])/255 - d.Mean[c]) / d.Std[c]
				input = binary.LittleEndian.AppendUint32(input, math.Float32bits(v))
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "input"), input, 0o600); err != nil {
		t.Fatal(err)
	}
	shape := fmt.Sprintf("%d,%d,%d,%d", im.N, im.C, im.H, im.W)
	onnxruntime.Run(t, "quantized.mjs", model, filepath.Join(dir, "input"), shape, dir)
	logits, err := os.ReadFile(filepath.Join(dir, export.ONNXOutput))
	if err != nil {
		t.Fatal(err)
	}
	for image := range slices.Chunk(logits, len(logits)/im.N) {
		var row []float32
		for i := 0; i < len(image); i += 4 {
			row = append(row, math.Float32frombits(binary.LittleEndian.Uint32(image[i:])))
		}
		classes = append(classes, int64(slices.Index(row, slices.Max(row))))
	}
	return classes
}

// exported are the files of Export, and what it logs.
func exported(t *testing.T, job *v1.ResNetTrainingJob, opts ExportOptions) (files map[string][]byte, log string) {
	t.Helper()
	var text bytes.Buffer
	files, opts.Log = map[string][]byte{}, slog.New(slog.NewTextHandler(&text, nil))
	err := Export(t.Context(), job, opts, func(name string, content []byte) error {
		files[name] = content
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, text.String()
}

// TestInt8SaysWhatStaysInFloat: in the log and on the card, with every normalisation.
func TestInt8SaysWhatStaysInFloat(t *testing.T) {
	for name, test := range map[string]struct {
		model v1.ModelSpec
		want  []string
	}{
		"BatchNorm":     {v1.ModelSpec{Activation: v1.Hardswish}, []string{"Hardswish: there is no int8 form"}},
		"bottlenecks":   {v1.ModelSpec{Architecture: v1.ResNet50}, nil},
		"TinyBatchNorm": {v1.ModelSpec{Normalization: v1.TinyBatchNorm}, nil},
		"GroupNorm": {v1.ModelSpec{Normalization: v1.GroupNorm, Activation: v1.GELU},
			[]string{"GroupNorm and the activation right behind it: ", "GELU: there is no"}},
		"LayerNorm": {v1.ModelSpec{Normalization: v1.LayerNorm},
			[]string{"LayerNorm and the activation right behind it: "}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			job := testJob(dir, func(s *spec) {
				test.model.Architecture = cmp.Or(test.model.Architecture, v1.ResNet18)
				test.model.WidthMultiplier, test.model.Stem = 0.125, v1.StemCIFAR
				s.Model, s.Training.Epochs = test.model, 1
				s.Export = v1.ExportSpec{Formats: []v1.ExportFormat{v1.ExportONNXInt8}, CalibrationBatches: 1,
					IncludeNormalization: true, ReduceRange: true}
			})
			if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
				t.Fatal(err)
			}
			card, err := export.DecodeCard(read(t, dir, contract.ModelPrefix+"/"+export.CardFile))
			if err != nil {
				t.Fatal(err)
			}
			q := card.Files[export.ONNXInt8File].Quantization
			if q.Method != "PTQ" || q.CalibrationImages != 8 || q.WeightLimit != 63 || len(q.Float) != len(test.want)+1 ||
				!strings.HasPrefix(q.Float[0], "the normalisation of the input: ") {
				t.Fatalf("%+v", q)
			}
			_, log := exported(t, job, ExportOptions{Spec: job.Spec.Export})
			for i, want := range test.want {
				if !strings.HasPrefix(q.Float[i+1], want) || !strings.Contains(log, want) {
					t.Errorf("want %q in %q and in the log: %s", want, q.Float[i+1], log)
				}
			}
		})
	}
}

func TestInt8Errors(t *testing.T) {
	dir := t.TempDir()
	job := testJob(dir, func(s *spec) { s.Training.Epochs = 1 })
	if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
		t.Fatal(err)
	}
	model := path(dir, contract.ModelPrefix+"/"+export.SafetensorsFile)
	infinite := filepath.Join(dir, "infinite.safetensors")
	state, metadata, err := checkpoint.DecodeSafetensors(read(t, dir, contract.ModelPrefix+"/"+export.SafetensorsFile))
	if err != nil {
		t.Fatal(err)
	}
	copy(state["fc.weight"].Data, binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.Inf(1)))))
	content, err := checkpoint.EncodeSafetensors(state, metadata)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(infinite, content, 0o600); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, test := range map[string]struct {
		file   string
		change func(s *spec)
		code   contract.ExitCode
		want   string
	}{
		"no images": {model, func(s *spec) { s.Export.CalibrationBatches = 0 }, contract.ExitConfig,
			"ONNXInt8 needs a calibration, which has seen no images: set spec.export.calibrationBatches to 1 or more"},
		"no data": {model, func(s *spec) { s.Dataset.Format, s.Dataset.URI = v1.FashionMNIST, "file://"+folder },
			contract.ExitData, "the calibration of model.int8.onnx needs training images: spec.dataset.uri: "},
		"not finite": {infinite, func(s *spec) {}, contract.ExitData, "model.int8.onnx: fc.weight has a value that is not finite"},
	} {
		t.Run(name, func(t *testing.T) {
			job := testJob(dir, func(s *spec) {
				s.Export = v1.ExportSpec{Formats: []v1.ExportFormat{v1.ExportONNXInt8}, CalibrationBatches: 2}
				test.change(s)
			})
			err := Export(t.Context(), job, ExportOptions{Weights: Weights{ModelFile: test.file}, Spec: job.Spec.Export},
				func(name string, _ []byte) error { t.Errorf("wrote %s", name); return nil })
			oneLine := err != nil && !strings.Contains(err.Error(), "\n")
			if exit.Code(err) != test.code || !oneLine || !strings.Contains(err.Error(), test.want) {
				t.Errorf("exit code %d, %v; want %d, %s", exit.Code(err), err, test.code, test.want)
			}
		})
	}
	t.Run("other images", func(t *testing.T) {
		d, err := loadData(t.Context(), job, "")
		if err != nil {
			t.Fatal(err)
		}
		w := &weights{input: new(inputOf(d))}
		w.input.Height, w.input.Width = 28, 28
		_, err = calibrate(t.Context(), job, job.Spec.Export, w, d)
		want := "needs images as the weights were trained on, 28×28×3, but those of spec.dataset are 32×32×3"
		if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}
