package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/record"
	"github.com/resnet-operator/resnet-operator/trainer/step"
)

type spec = v1.ResNetTrainingJobSpec

// testJob takes a second: 2 epochs of 8 steps, with a narrow network.
func testJob(dir string, changes ...func(s *spec)) *v1.ResNetTrainingJob {
	job := &v1.ResNetTrainingJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "test", UID: "local"},
		Spec: spec{
			Model:   v1.ModelSpec{Architecture: v1.ResNet18, Stem: v1.StemCIFAR, WidthMultiplier: 0.125},
			Dataset: v1.DatasetSpec{Format: v1.Synthetic, MaxTrainImages: new(int32(64)), MaxTestImages: new(int32(20))},
			Storage: v1.StorageSpec{URI: "file://" + dir},
			Training: v1.TrainingSpec{
				Epochs: 2, BatchSize: 8, Precision: v1.PrecisionFP32, Seed: 1,
				Optimizer:    v1.OptimizerSpec{Type: v1.AdamW, WeightDecay: new(5e-4), Betas: []float64{0.9, 0.999}, Eps: 1e-8},
				Schedule:     v1.ScheduleSpec{Type: v1.OneCycle, MaxLR: 3e-3, PctStart: new(0.3), DivFactor: 25, FinalDivFactor: 1e4},
				Augmentation: v1.AugmentationSpec{RandomCropPadding: new(int32(4)), HorizontalFlip: new(true)},
			},
		},
	}
	for _, change := range changes {
		change(&job.Spec)
	}
	return job
}

func runJob(ctx context.Context, t *testing.T, job *v1.ResNetTrainingJob, opts Options) (contract.Progress, error) {
	t.Helper()
	opts.Handler = slog.NewTextHandler(t.Output(), nil)
	if opts.Progress == nil {
		opts.Progress = progress.NewTracker(contract.Progress{Phase: contract.PhaseLoading, StartTime: time.Now()})
	}
	_, err := Run(ctx, job, opts)
	return opts.Progress.Snapshot(), err
}

// buildRun prepares a run up to its first step.
func buildRun(t testing.TB, job *v1.ResNetTrainingJob) *run {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	training, err := prepare(t.Context(), job, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	r := &run{training: training}
	rec, _ := record.New(t.Context(), job, progress.NewTracker(contract.Progress{}), slog.NewTextHandler(t.Output(), nil))
	r.rec, r.log = rec, rec.Log
	r.makeSteps(t)
	r.rec.Begin(r.state, r.inputs())
	return r
}

func (r *run) makeSteps(t testing.TB) {
	t.Helper()
	var err error
	if r.step, err = step.New(r.state, r.inputs()); err != nil {
		t.Fatal(err)
	}
}

func path(dir, key string) string {
	return filepath.Join(dir, contract.JobPrefix("default", "test", "local"), key)
}

func read(t *testing.T, dir, key string) []byte {
	t.Helper()
	b, err := os.ReadFile(path(dir, key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Who watches a long epoch sees its loss move.
func TestTheLossOfTheCurrentEpochIsTold(t *testing.T) {
	dir, tracker := t.TempDir(), progress.NewTracker(contract.Progress{})
	var told []float64 // behind the steps of the second epoch, but for the last one
	_, err := runJob(t.Context(), t, testJob(dir), Options{Progress: tracker, onStep: func(step int64) {
		if step > 9 {
			told = append(told, *tracker.Snapshot().Loss)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	epochs := metricsLines(t, read(t, dir, contract.MetricsKey(1)))
	slices.Sort(told)
	if n := len(slices.Compact(told)); n != 7 || slices.Contains(told, epochs[0].TrainLoss) {
		t.Errorf("%d losses were told in the second epoch: %v", n, told)
	}
	if got := *tracker.Snapshot().Loss; got != epochs[1].TrainLoss {
		t.Errorf("the loss is %v at the end, and %v in the metrics", got, epochs[1].TrainLoss)
	}
}

func TestRunLeavesResults(t *testing.T) {
	dir := t.TempDir()
	p, err := runJob(t.Context(), t, testJob(dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Phase != contract.PhaseDone || p.Attempt != 1 || p.Epoch != 2 || p.Epochs != 2 || p.Step != 16 || p.Steps != 16 {
		t.Errorf("progress: %+v", p)
	}
	if p.Loss == nil || p.Accuracy == nil || p.BestAccuracy == nil || p.FirstStepTime == nil || p.ImagesPerSecond <= 0 {
		t.Errorf("progress lacks numbers: %+v", p)
	}
	if want := contract.CheckpointName(2, 16, 1); p.Checkpoint == nil || p.Checkpoint.Name != want {
		t.Errorf("checkpoint %+v, want %s", p.Checkpoint, want)
	}
	lines := strings.Split(strings.TrimSpace(string(read(t, dir, contract.MetricsKey(1)))), "\n")
	if len(lines) != 2 {
		t.Fatalf("metrics: %q", lines)
	}
	for i, line := range lines {
		var m checkpoint.EpochMetrics
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m.Epoch != int32(i+1) || m.Step != int64(8*(i+1)) || m.TrainLoss <= 0 || *m.TestLoss <= 0 || m.LR <= 0 || m.Momentum <= 0 ||
			m.GradNorm <= 0 || m.Top5Accuracy == nil || *m.Top5Accuracy < *m.Accuracy || m.FlipTTAAccuracy != nil || m.LossScale != nil || m.Seconds <= 0 {
			t.Errorf("metrics: %+v", m)
		}
	}
	model, _, err := checkpoint.DecodeSafetensors(read(t, dir, contract.ModelKey))
	if err != nil || len(model) != 122 { // as torchvision's resnet18
		t.Errorf("model of %d tensors: %v", len(model), err)
	}
	if log := string(read(t, dir, contract.LogKey(1))); !strings.Contains(log, "epoch 2/2 done") {
		t.Errorf("log: %s", log)
	}
}

// recipes for the tests of resuming: 4 epochs of 8 steps each.
var recipes = map[string]func(s *spec){
	"fp32": func(s *spec) {},
	"bf16": func(s *spec) { s.Training.Precision = v1.PrecisionBF16 },
	"fine-tuning": func(s *spec) { // what is frozen thaws at step 16
		s.Training.Freeze, s.Training.UnfreezeAfterEpochs = []string{"conv1", "bn1", "layer1", "layer3"}, new(int32(2))
		s.Training.LRMultipliers = map[string]float64{"layer1": 0.1, "fc": 3}
		s.Training.EMA, s.Training.Evaluation.PreciseBNBatches = &v1.EMASpec{Decay: new(0.9)}, 2
	},
	"mixed, weighted, in parts": func(s *spec) {
		s.Training.Augmentation.MixUp, s.Training.Augmentation.CutMix = &v1.MixSpec{Alpha: new(0.4)}, &v1.MixSpec{}
		s.Training.ClassWeights, s.Training.LabelSmoothing = &v1.ClassWeightsSpec{}, 0.1
		s.Training.GradientAccumulationSteps, s.Training.Sampler = 2, v1.SamplerBalanced
		s.Training.Evaluation.PreciseBNBatches = 2
	},
	"plateau": func(s *spec) {
		s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.02), WeightDecay: new(5e-4)}
		s.Training.Schedule = v1.ScheduleSpec{Type: v1.ReduceLROnPlateau, Patience: new(int32(0)), Threshold: new(0.9)}
		s.Dataset.MaxTrainImages, s.Dataset.ValidationFraction = new(int32(80)), 0.125
	},
	"SGD, average, frozen statistics": func(s *spec) {
		s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.4) // in epoch 2, at step 13
		s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.02), WeightDecay: new(5e-4), DecayNormAndBias: new(false)}
		s.Training.Schedule = v1.ScheduleSpec{Type: v1.Cosine, WarmupEpochs: 0.5}
		s.Training.EMA, s.Training.ClipGradNorm = &v1.EMASpec{Decay: new(0.9)}, new(1.0)
		s.Training.Evaluation.FlipTTA, s.Training.Evaluation.PreciseBNBatches = true, 1
	},
}

// TestResumeIsBitExact stops a job at several points and runs it to its end in further attempts: the model is the very
// one of a run without interruption.
func TestResumeIsBitExact(t *testing.T) { testResume(t, recipes) }

func testResume(t *testing.T, recipes map[string]func(s *spec)) {
	t.Helper()
	for recipe, change := range recipes {
		four := func(s *spec) { s.Training.Epochs = 4; change(s) }
		whole := t.TempDir()
		if _, err := runJob(t.Context(), t, testJob(whole, four), Options{}); err != nil {
			t.Fatal(err)
		}
		for name, stops := range map[string][]int64{
			"mid-epoch":         {13},
			"twice in an epoch": {10, 12},
			"before evaluation": {16},
			"first and last":    {1, 32},
		} {
			t.Run(recipe+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				for _, stop := range stops {
					stopAt(t, testJob(dir, four), stop)
				}
				p, err := runJob(t.Context(), t, testJob(dir, four), Options{})
				if err != nil {
					t.Fatal(err)
				}
				last := int32(len(stops) + 1)
				if p.Attempt != last || p.Step != 32 {
					t.Errorf("progress: %+v", p)
				}
				if !bytes.Equal(read(t, dir, contract.ModelKey), read(t, whole, contract.ModelKey)) {
					t.Error("another model than without interruption")
				}
				if got, want := metricsOf(t, read(t, dir, contract.MetricsKey(last))), metricsOf(t, read(t, whole, contract.MetricsKey(1))); got != want {
					t.Errorf("metrics:\n%s\nwithout interruption:\n%s", got, want)
				}
			})
		}
	}
}

// stopAt runs a job and stops it after a step.
func stopAt(t *testing.T, job *v1.ResNetTrainingJob, stop int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p, err := runJob(ctx, t, job, Options{onStep: func(step int64) {
		if step == stop {
			cancel()
		}
	}})
	if exit.Code(err) != contract.ExitStopped || p.Step != stop || !strings.Contains(err.Error(), fmt.Sprint("step ", stop)) {
		t.Fatalf("stopped at step %d with %v", p.Step, err)
	}
}

// metricsLines parses metrics.jsonl.
func metricsLines(t *testing.T, lines []byte) (all []checkpoint.EpochMetrics) {
	t.Helper()
	for dec := json.NewDecoder(bytes.NewReader(lines)); dec.More(); {
		var m checkpoint.EpochMetrics
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// metricsOf are the metrics without what depends on time.
func metricsOf(t *testing.T, lines []byte) string {
	t.Helper()
	all := metricsLines(t, lines)
	for i := range all {
		m := &all[i]
		m.ImagesPerSecond, m.Seconds, m.DataWait, m.MemoryBytes = 0, 0, 0, 0
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFinishedJobRunsAgain(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if _, err := runJob(t.Context(), t, testJob(dir), Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if metricsOf(t, read(t, dir, contract.MetricsKey(1))) != metricsOf(t, read(t, dir, contract.MetricsKey(2))) {
		t.Error("the second run changed the metrics")
	}
}
