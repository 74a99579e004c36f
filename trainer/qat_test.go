package trainer

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/internal/onnxruntime"
)

// quantised lets a job train with quantisation between two shares of its steps, in which ranges are observed.
func quantised(start, freeze float64) func(s *spec) {
	return func(s *spec) {
		s.Training.Quantization = &v1.QuantizationSpec{Method: v1.QAT, StartAfter: &start, FreezeObserversAfter: &freeze,
			AveragingConstant: new(0.1), CalibrationBatches: 2}
		s.Export.Formats = []v1.ExportFormat{v1.ExportONNXInt8}
	}
}

// TestQuantisedResumeIsBitExact stops a quantised training on both sides of every boundary of its phases: at step 11 it
// begins, at step 21 ranges and statistics freeze. The int8 model has the bits of one without interruption.
func TestQuantisedResumeIsBitExact(t *testing.T) {
	for name, change := range map[string]func(s *spec){
		"fp32": func(s *spec) {},
		"bf16": func(s *spec) { s.Training.Precision = v1.PrecisionBF16 },
		"average": func(s *spec) {
			s.Training.EMA, s.Training.Quantization.ReduceRange = &v1.EMASpec{Decay: new(0.9)}, true
			s.Model.Activation = v1.LeakyReLU
			s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			four := func(s *spec) {
				s.Training.Epochs = 4
				quantised(0.33, 0.65)(s)
				change(s)
			}
			whole, dir := t.TempDir(), t.TempDir()
			if _, err := runJob(t.Context(), t, testJob(whole, four), Options{}); err != nil {
				t.Fatal(err)
			}
			for _, stop := range []int64{11, 12, 16, 21, 22, 32} {
				stopAt(t, testJob(dir, four), stop)
			}
			if _, err := runJob(t.Context(), t, testJob(dir, four), Options{}); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{export.SafetensorsFile, export.ONNXInt8File} {
				key := contract.ModelPrefix + "/" + file
				if !bytes.Equal(read(t, dir, key), read(t, whole, key)) {
					t.Errorf("another %s than without interruption", file)
				}
			}
			lines := metricsLines(t, read(t, whole, contract.MetricsKey(1)))
			for i, m := range lines {
				if m.Quantized() != (i > 0) || m.Quantized() && !(*m.Int8Agreement > 0) {
					t.Errorf("epoch %d: %+v", i+1, m)
				}
			}
			if got, want := metricsOf(t, read(t, dir, contract.MetricsKey(7))), metricsOf(t, read(t, whole, contract.MetricsKey(1))); got != want {
				t.Errorf("metrics:\n%s\nwithout interruption:\n%s", got, want)
			}
		})
	}
}

// TestQuantisedAccuracy: the int8 model computes in ONNX Runtime what the training tested, and is as good as the same
// weights in float. trainer evaluate and trainer export see the same.
func TestQuantisedAccuracy(t *testing.T) {
	onnxruntime.Folder(t)
	for name, change := range map[string]func(s *spec){
		"trained": func(s *spec) {},
		"average": func(s *spec) { s.Training.EMA = &v1.EMASpec{Decay: new(0.9)} },
		"leaky, bf16": func(s *spec) {
			s.Model.Activation, s.Training.Precision = v1.LeakyReLU, v1.PrecisionBF16
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			job := int8Job(dir, quantised(0.4, 0.8), change)
			p, err := runJob(t.Context(), t, job, Options{})
			if err != nil {
				t.Fatal(err)
			}
			lines := metricsLines(t, read(t, dir, contract.MetricsKey(1)))
			last := lines[len(lines)-1]
			if last.Int8Accuracy == nil || p.Int8Accuracy == nil || *p.Int8Accuracy != *last.Int8Accuracy || *p.BestAccuracy < *last.Int8Accuracy {
				t.Fatalf("progress %+v, last epoch %+v", p, last)
			}
			d, err := loadData(t.Context(), job, "")
			if err != nil {
				t.Fatal(err)
			}
			right, images := 0.0, float64(d.Test.N)
			for i, class := range classesInONNXRuntime(t, d, path(dir, contract.ModelPrefix+"/"+export.ONNXInt8File)) {
				right += one(class == d.Test.Labels[i])
			}
			t.Logf("float %v, quantised %v in training, %v in ONNX Runtime; agreement %v", *last.Accuracy, *last.Int8Accuracy, right/images, *last.Int8Agreement)
			if math.Abs(right/images-*last.Int8Accuracy) > 0.01 || *last.Accuracy < 0.5 || *last.Int8Accuracy < *last.Accuracy-0.03 ||
				*last.Int8Agreement < 0.95 {
				t.Errorf("float %v, quantised %v in training, %v in ONNX Runtime; agreement %v", *last.Accuracy, *last.Int8Accuracy,
					right/images, *last.Int8Agreement)
			}

			card, err := export.DecodeCard(read(t, dir, contract.ModelPrefix+"/"+export.CardFile))
			if err != nil {
				t.Fatal(err)
			}
			if q := card.Files[export.ONNXInt8File].Quantization; q.Method != "QAT" || q.CalibrationImages != 0 || q.WeightLimit != 127 ||
				*card.Result.Int8Accuracy != *last.Int8Accuracy {
				t.Errorf("card: %+v, %+v", q, card.Result)
			}
			want := read(t, dir, contract.ModelPrefix+"/"+export.ONNXInt8File)
			for source, w := range map[string]Weights{"checkpoint": {}, "file": {ModelFile: path(dir, contract.ModelKey)}} {
				files, log := exported(t, job, ExportOptions{Weights: w, Spec: job.Spec.Export})
				if !bytes.Equal(files[export.ONNXInt8File], want) || !strings.Contains(log, "method=QAT") {
					t.Errorf("from the %s: another int8 model; log: %s", source, log)
				}
				e, err := Evaluate(t.Context(), job, EvaluateOptions{Weights: Weights{Checkpoint: checkpoint.Latest, ModelFile: w.ModelFile}})
				if err != nil || e.Int8 == nil || e.Int8.Top1 != *last.Int8Accuracy || e.Int8.Agreement != *last.Int8Agreement {
					t.Errorf("evaluation of the %s: %+v, %v", source, e, err)
				}
			}
			if r := string(read(t, dir, contract.ReportKey)); !strings.Contains(r, "int8") {
				t.Error("the report does not say int8")
			}
		})
	}
}

// TestBestOfQuantised: the best epoch is one of the quantised network, whatever the accuracy in float was before.
func TestBestOfQuantised(t *testing.T) {
	dir := t.TempDir()
	job := testJob(dir, quantised(0.6, 1), func(s *spec) {
		s.Training.Epochs, s.Training.Schedule.MaxLR = 4, 1e-5
		s.Export.Weights = v1.WeightsBest
	})
	if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
		t.Fatal(err)
	}
	var best struct{ Epoch int32 }
	if err := json.Unmarshal(read(t, dir, contract.BestKey), &best); err != nil || best.Epoch < 3 {
		t.Errorf("the best epoch is %+v, %v: the quantisation began in epoch 3", best, err)
	}
}

// TestQuantisedRanks: all ranks have the same weights and ranges after every epoch (or the run ends with an error), with
// each process' own normalisation and with that of all, and the same bits when they were interrupted.
func TestQuantisedRanks(t *testing.T) {
	for _, normalization := range []v1.DistributedNormalization{v1.PerProcess, v1.Synchronized} {
		t.Run(string(normalization), func(t *testing.T) {
			change := func(s *spec) {
				s.Distributed = &v1.DistributedSpec{Pods: 1, ProcessesPerPod: 3, Normalization: normalization}
			}
			whole, dir := t.TempDir(), t.TempDir()
			if code, text := runGroup(t, 3, member{Job: groupJob(whole, quantised(0.3, 0.7), change)}); code != 0 {
				t.Fatalf("exit code %d: %s", code, text)
			}
			job := groupJob(dir, quantised(0.3, 0.7), change)
			if code, text := runGroup(t, 3, member{Job: job, Step: 5, Action: "stop"}); code != contract.ExitStopped {
				t.Fatalf("exit code %d: %s", code, text)
			}
			if code, text := runGroup(t, 3, member{Job: job}); code != 0 {
				t.Fatalf("exit code %d: %s", code, text)
			}
			if !bytes.Equal(read(t, dir, contract.ModelKey), read(t, whole, contract.ModelKey)) {
				t.Error("another model than without interruption")
			}
		})
	}
}
