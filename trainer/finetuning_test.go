package trainer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// sevenClasses writes a folder of images of seven classes, for training only.
func sevenClasses(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for class := range 7 {
		dir := filepath.Join(folder, "train", fmt.Sprint("class", class))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			im := image.NewRGBA(image.Rect(0, 0, 40+i, 36))
			for y := range 36 {
				for x := range 40 + i {
					im.Set(x, y, color.RGBA{uint8(x * class), uint8(y * (7 - class)), uint8(20 * i), 255})
				}
			}
			var file bytes.Buffer
			if err := png.Encode(&file, im); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".png")), file.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	return folder
}

// TestFineTuningSample trains config/samples/fine-tuning.yaml, on few images and a narrow network, with the weights of another job
// from a web server: what is frozen stays as it was there, until it thaws; the last layer is another one.
func TestFineTuningSample(t *testing.T) {
	source := t.TempDir()
	narrow := v1.ModelSpec{Architecture: v1.ResNet50, Stem: v1.StemImageNet, WidthMultiplier: 0.125}
	if _, err := runJob(t.Context(), t, testJob(source, func(s *spec) { s.Model, s.Training.Epochs = narrow, 1 }), Options{}); err != nil {
		t.Fatal(err)
	}
	weights := read(t, source, contract.ModelPrefix+"/model.safetensors")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(weights) }))
	defer server.Close()
	sum := sha256.Sum256(weights)
	dir := t.TempDir()
	job, err := manifest.Load("../config/samples/fine-tuning.yaml", "model.widthMultiplier=0.125", "resumeFrom.uri="+server.URL+"/w.pth?SECRET",
		"resumeFrom.sha256="+hex.EncodeToString(sum[:]), "dataset.uri=file://"+sevenClasses(t), "dataset.imageSize=32", "storage.uri=file://"+dir, "storage.s3=",
		"training.batchSize=8", "training.epochs=4", "training.precision=FP32", "resources.gpus=0", "checkpoint.keepLast=10")
	if err != nil {
		t.Fatal(err)
	}
	job.Namespace, job.Name, job.UID = "default", "test", "local"
	stopAt(t, job, 20) // of 28 steps; at 21 the frozen parts thaw
	if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
		t.Fatal(err)
	}
	given := tensorsOf(t, weights)
	frozen := func(name string) bool {
		part, _, _ := strings.Cut(name, ".")
		return strings.Contains("conv1 bn1 layer1 layer2", part)
	}
	for step, key := range map[int]string{
		0:  "checkpoints/" + contract.CheckpointName(0, 0, 1) + "/model.safetensors",
		20: "checkpoints/" + contract.CheckpointName(2, 20, 1) + "/model.safetensors",
		28: contract.ModelKey,
	} {
		for name, w := range tensorsOf(t, read(t, dir, key)) {
			same := bytes.Equal(w.Data, given[name].Data)
			switch {
			case strings.HasPrefix(name, "fc."):
				if w.Shape[0] != 7 {
					t.Fatalf("%s has the shape %v", name, w.Shape)
				}
			case same != (step == 0 || frozen(name) && step == 20):
				t.Errorf("%s after step %d: it is that of the source: %v", name, step, same)
			}
		}
	}
	log := string(read(t, dir, contract.LogKey(1)))
	if !strings.Contains(log, "fc.bias fc.weight") || strings.Contains(log, "SECRET") {
		t.Errorf("log: %s", log)
	}
}

func tensorsOf(t *testing.T, file []byte) checkpoint.StateDict {
	t.Helper()
	tensors, _, err := checkpoint.DecodeSafetensors(file)
	if err != nil {
		t.Fatal(err)
	}
	return tensors
}

// TestFrozenParts: an average of weights that are frozen has their very bits, and so have those that are trained in another
// precision, quantised or clipped.
func TestFrozenParts(t *testing.T) {
	for name, change := range map[string]func(s *spec){
		"average": func(s *spec) { s.Training.EMA = &v1.EMASpec{Decay: new(0.9)} },
		"bf16":    func(s *spec) { s.Training.Precision = v1.PrecisionBF16 },
		"frozen statistics": func(s *spec) {
			s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.5)
		},
		"quantised":          quantised(0.2, 0.8),
		"quantised, average": func(s *spec) { quantised(0.2, 0.8)(s); s.Training.EMA = &v1.EMASpec{Decay: new(0.9)} },
		"clipped, SGD": func(s *spec) {
			s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.02), WeightDecay: new(0.1)}
			s.Training.ClipGradNorm = new(0.5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := testJob(t.TempDir(), func(s *spec) { s.Training.Freeze = []string{"conv1", "bn1", "layer2.1", "layer3.0.bn2"}; change(s) })
			r := buildRun(t, job)
			before, err := r.state.Net.StateDict()
			if err != nil {
				t.Fatal(err)
			}
			for epoch := range int32(2) {
				r.state.Epoch, r.state.StepInEpoch = epoch, 0
				steps(t, r, 8)
			}
			after, err := r.state.Tested().StateDict()
			if err != nil {
				t.Fatal(err)
			}
			for name := range after {
				if same := bytes.Equal(before[name].Data, after[name].Data); same != r.plan.Freezes(name) {
					t.Errorf("%s is as before: %v", name, same)
				}
			}
		})
	}
}

func TestPartsThatAreNone(t *testing.T) {
	for want, change := range map[string]func(s *spec){
		`spec.training.freeze: the network has no part "layer5": it has conv1, bn1, layer1, layer2, layer3, layer4, fc, and what is in them, such as layer1.0.conv1`: func(s *spec) {
			s.Training.Freeze = []string{"conv1", "layer5"}
		},
		`spec.training.freeze: the network has no part "layer2.7": it has conv1, bn1, layer1, layer2, layer3, layer4, fc, and what is in them, such as layer2.0.conv1`: func(s *spec) {
			s.Training.Freeze = []string{"layer2.7"}
		},
		`spec.training.lrMultipliers: the network has no part "layer"`: func(s *spec) {
			s.Training.LRMultipliers = map[string]float64{"layer": 1}
		},
		"spec.training.freeze leaves nothing to train: take one of conv1, bn1, layer1, layer2, layer3, layer4, fc out of it": func(s *spec) {
			s.Training.Freeze = []string{"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}
		},
		"spec.training.unfreezeAfterEpochs is 2, but the training has 2 epochs: set it to less, or leave it out to keep conv1 frozen": func(s *spec) {
			s.Training.Freeze, s.Training.UnfreezeAfterEpochs = []string{"conv1"}, new(int32(2))
		},
		"spec.training.classWeights.values has 2 weights, but the data has 10 classes: give one for each, in the order ": func(s *spec) {
			s.Training.ClassWeights = &v1.ClassWeightsSpec{Type: v1.ClassWeightsValues, Values: []float64{1, 2}}
		},
		"spec.training.batchSize is 8, which cannot be divided into 3 parts (gradientAccumulationSteps) of the same number of images, at least 2: set it to 6": func(s *spec) {
			s.Training.GradientAccumulationSteps = 3
		},
		"spec.training.schedule.type ReduceLROnPlateau needs images to validate on": func(s *spec) {
			s.Training.Schedule = v1.ScheduleSpec{Type: v1.ReduceLROnPlateau}
		},
	} {
		_, err := runJob(t.Context(), t, testJob(t.TempDir(), change), Options{})
		if exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("exit code %d: %v, want %s", exit.Code(err), err, want)
		}
	}
}

// TestGradientAccumulation: without batch normalisation a training in parts is that of whole batches, but for roundings.
func TestGradientAccumulation(t *testing.T) {
	losses := func(parts int32) (all []float64) {
		dir := t.TempDir()
		_, err := runJob(t.Context(), t, testJob(dir, func(s *spec) {
			s.Model.Normalization, s.Model.Activation, s.Training.GradientAccumulationSteps = v1.GroupNorm, v1.SiLU, parts
			s.Training.LabelSmoothing, s.Training.Augmentation.CutMix = 0.1, &v1.MixSpec{}
		}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metricsLines(t, read(t, dir, contract.MetricsKey(1))) {
			all = append(all, m.TrainLoss, *m.TestLoss, m.GradNorm)
		}
		return all
	}
	whole := losses(1)
	for _, parts := range []int32{2, 4} {
		for i, got := range losses(parts) {
			if d := got/whole[i] - 1; !(d < 1e-4 && d > -1e-4) {
				t.Errorf("%d parts: %v, want %v", parts, got, whole[i])
			}
		}
	}
}

// TestEvaluateEvery: epochs that are not tested have no accuracy, are never the best, and early stopping does not count them; the last
// one is tested, and an interruption changes nothing.
func TestEvaluateEvery(t *testing.T) {
	every := func(s *spec) {
		s.Training.Epochs, s.Training.Evaluation.EveryEpochs = 7, 3
		s.Dataset.MaxTrainImages, s.Dataset.ValidationFraction = new(int32(80)), 0.2
		s.Training.EarlyStopping = &v1.EarlyStoppingSpec{Patience: 3}
		s.Export.Weights = v1.WeightsBest
	}
	whole, dir := t.TempDir(), t.TempDir()
	p, err := runJob(t.Context(), t, testJob(whole, every), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, stop := range []int64{13, 40} {
		stopAt(t, testJob(dir, every), stop)
	}
	if _, err := runJob(t.Context(), t, testJob(dir, every), Options{}); err != nil {
		t.Fatal(err)
	}
	lines := metricsLines(t, read(t, whole, contract.MetricsKey(1)))
	best := 0.0
	for _, m := range lines {
		tested := m.Epoch == 3 || m.Epoch == 6 || m.Epoch == 7
		if m.Tested() != tested || (m.TestLoss != nil) != tested || (m.ValidationLoss != nil) != tested {
			t.Errorf("epoch %d: %+v", m.Epoch, m)
		}
		if tested {
			best = max(best, *m.ValidationAccuracy)
		}
	}
	if len(lines) != 7 || p.BestAccuracy == nil || *p.BestAccuracy != best || *p.Accuracy != *lines[6].Accuracy {
		t.Errorf("%d epochs, progress %+v", len(lines), p)
	}
	if got, want := metricsOf(t, read(t, dir, contract.MetricsKey(3))), metricsOf(t, read(t, whole, contract.MetricsKey(1))); got != want {
		t.Errorf("metrics:\n%s\nwithout interruption:\n%s", got, want)
	}
	if !bytes.Equal(read(t, dir, contract.ModelKey), read(t, whole, contract.ModelKey)) {
		t.Error("another model than without interruption")
	}
}
