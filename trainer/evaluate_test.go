package trainer

import (
	"bytes"
	"image"
	"image/color"
	"iter"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

func captureLog(r *run) *bytes.Buffer {
	var b bytes.Buffer
	r.log = slog.New(slog.NewTextHandler(&b, nil))
	return &b
}

// TestEvaluateAndPredict: what they find in the folder of a finished job agrees with what training had measured, and
// with each other.
func TestEvaluateAndPredict(t *testing.T) {
	dir := t.TempDir()
	job := testJob(dir, func(s *spec) {
		s.Training.EMA = &v1.EMASpec{Decay: new(0.5)}
		s.Training.Epochs = 3
		s.Dataset.MaxTestImages = new(int32(200))
	})
	if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
		t.Fatal(err)
	}
	e, err := Evaluate(t.Context(), job, EvaluateOptions{Weights: Weights{Checkpoint: "latest"}, FlipTTA: true})
	if err != nil {
		t.Fatal(err)
	}
	metrics := metricsLines(t, read(t, dir, contract.MetricsKey(1)))
	last := metrics[len(metrics)-1]
	if e.Loss != *last.TestLoss || e.Top1 != *last.Accuracy || *e.Top5 != *last.Top5Accuracy || e.FlipTTA == nil || e.Images != 200 {
		t.Errorf("%+v, training had measured %+v", e, last)
	}
	var all, correct int64
	for i, row := range e.Confusion {
		for j, n := range row {
			all += n
			if i == j {
				correct += n
			}
		}
	}
	if all != 200 || float64(correct)/200 != e.Top1 || len(e.Confusion) != 10 {
		t.Errorf("confusion of %d images, %d correct", all, correct)
	}

	r := buildRun(t, job)
	im := &r.data.Test
	var images []image.Image
	for i := range im.N {
		picture := image.NewRGBA(image.Rect(0, 0, im.W, im.H))
		for k := range im.W * im.H {
			p := im.Pixels[(i*im.W*im.H+k)*3:]
			picture.SetRGBA(k%im.W, k/im.W, color.RGBA{p[0], p[1], p[2], 255})
		}
		images = append(images, picture)
	}
	predictions, err := Predict(t.Context(), job, withoutErrors(images), PredictOptions{Weights: Weights{Checkpoint: "latest"}, TopK: 20})
	if err != nil {
		t.Fatal(err)
	}
	recognised := int64(0)
	for i, p := range predictions {
		var sum float64
		for k, c := range p {
			sum += c.Probability
			if k > 0 && c.Probability > p[k-1].Probability {
				t.Error("not in falling order")
			}
		}
		if len(p) != 10 || math.Abs(sum-1) > 1e-9 || p[0].Class != r.data.Classes[p[0].Index] {
			t.Errorf("prediction %+v", p)
		}
		if int64(p[0].Index) == im.Labels[i] {
			recognised++
		}
	}
	if recognised != correct {
		t.Errorf("%d images recognised, the evaluation says %d", recognised, correct)
	}
}

func withoutErrors(images []image.Image) iter.Seq2[image.Image, error] {
	return func(yield func(image.Image, error) bool) {
		for _, im := range images {
			if !yield(im, nil) {
				return
			}
		}
	}
}

func TestWeightsErrors(t *testing.T) {
	job := testJob(t.TempDir())
	trained := testJob(t.TempDir())
	if _, err := runJob(t.Context(), t, trained, Options{}); err != nil {
		t.Fatal(err)
	}
	wider := trained.DeepCopy()
	wider.Spec.Model.WidthMultiplier = 0.25
	for name, test := range map[string]struct {
		job     *v1.ResNetTrainingJob
		weights Weights
		code    contract.ExitCode
		want    string
	}{
		"no checkpoint":   {job, Weights{}, contract.ExitConfig, `has no checkpoint "best"`},
		"no file":         {job, Weights{ModelFile: "nowhere"}, contract.ExitConfig, "nowhere"},
		"not safetensors": {job, Weights{ModelFile: "evaluate_test.go"}, contract.ExitData, "model file evaluate_test.go"},
		"another network": {wider, Weights{}, contract.ExitConfig, "does not fit spec.model and spec.dataset"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Evaluate(t.Context(), test.job, EvaluateOptions{Weights: test.weights})
			if exit.Code(err) != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		})
	}
}

func TestFindLR(t *testing.T) {
	job := testJob(t.TempDir())
	var told int
	result, err := FindLR(t.Context(), job, FindLROptions{MinLR: 1e-5, MaxLR: 1e-1, Steps: 21, Progress: func(LRPoint, int) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	p := result.Points
	if told != len(p) || len(p) < 2 || p[0].LR != 1e-5 || p[0].Smoothed != p[0].Loss || (!result.Diverged && len(p) != 21) {
		t.Fatalf("%+v", result)
	}
	for i := 1; i < len(p); i++ {
		if ratio := p[i].LR / p[i-1].LR; math.Abs(ratio-math.Pow(10, 0.2)) > 1e-9 {
			t.Errorf("step %d: the learning rate rose by %g", i+1, ratio)
		}
		if want := 0.05*p[i].Loss + 0.95*p[i-1].Smoothed; math.Abs(p[i].Smoothed-want) > 1e-12 {
			t.Errorf("step %d: smoothed %g, want %g", i+1, p[i].Smoothed, want)
		}
	}
	wild, err := FindLR(t.Context(), job, FindLROptions{MinLR: 1, MaxLR: 1e30, Steps: 30})
	if err != nil || !wild.Diverged || len(wild.Points) == 30 {
		t.Errorf("%+v: %v", wild, err)
	}
	if _, err := FindLR(t.Context(), job, FindLROptions{MinLR: 1, MaxLR: 0.1}); exit.Code(err) != contract.ExitConfig {
		t.Error(err)
	}
}

func TestSteepest(t *testing.T) {
	for _, test := range []struct {
		losses []float64
		want   float64
	}{
		{[]float64{5, 4.9, 4, 2, 1.9, 8}, 3},
		{[]float64{5, 3, 3, 3}, 1},
		{[]float64{1, 2, 3}, 0},
		{[]float64{1}, 0},
	} {
		var points []LRPoint
		for i, loss := range test.losses {
			points = append(points, LRPoint{LR: float64(i + 1), Smoothed: loss})
		}
		if got := steepest(points); got != test.want {
			t.Errorf("%v: steepest at %g, want %g", test.losses, got, test.want)
		}
	}
}

// TestPreciseBN: the statistics of a model are computed anew, of one that is fine-tuned but for those of frozen parts. Its weights are
// those of the training.
func TestPreciseBN(t *testing.T) {
	for name, change := range map[string]func(s *spec){
		"all":     func(s *spec) {},
		"average": func(s *spec) { s.Training.EMA = &v1.EMASpec{Decay: new(0.9)} },
		"frozen":  func(s *spec) { s.Training.Freeze = []string{"conv1", "bn1", "layer1"} },
		"frozen, average": func(s *spec) {
			s.Training.Freeze, s.Training.EMA = []string{"conv1", "bn1", "layer1"}, &v1.EMASpec{Decay: new(0.9)}
		},
		"TinyBatchNorm, frozen": func(s *spec) {
			s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			models := [2]checkpoint.StateDict{}
			for i := range models {
				dir := t.TempDir()
				job := testJob(dir, change, func(s *spec) {
					s.Training.Epochs, s.Training.Evaluation.PreciseBNBatches = 1, int32(3*i)
				})
				if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
					t.Fatal(err)
				}
				var err error
				if models[i], _, err = checkpoint.DecodeSafetensors(read(t, dir, contract.ModelKey)); err != nil {
					t.Fatal(err)
				}
			}
			for key, tensor := range models[0] {
				frozen := strings.HasPrefix(name, "Tiny") ||
					strings.HasPrefix(name, "frozen") && (strings.HasPrefix(key, "bn1.") || strings.HasPrefix(key, "layer1."))
				changed := !bytes.Equal(tensor.Data, models[1][key].Data)
				if want := strings.Contains(key, ".running_") && !frozen; changed != want {
					t.Errorf("%s: changed: %v, want %v", key, changed, want)
				}
			}
		})
	}
}
