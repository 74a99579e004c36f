package trainer

import (
	"os"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *spec)
		code   contract.ExitCode
		want   string
	}{
		"batch larger than the data": {
			func(s *spec) { s.Training.BatchSize = 65 }, contract.ExitConfig,
			"spec.training.batchSize is 65, but there are 64 training images: set it to 64 or less",
		},
		"no GPU": {
			func(s *spec) { s.Resources.GPUs = 1 }, contract.ExitConfig, "spec.resources.gpus is 1",
		},
		"no data": {
			func(s *spec) { s.Dataset = v1.DatasetSpec{Format: v1.CIFAR10, URI: "file:///nowhere"} },
			contract.ExitData, "/nowhere",
		},
		"diverged": {
			func(s *spec) { s.Training.Schedule.MaxLR, *s.Training.Optimizer.WeightDecay = 1e3, 1 },
			contract.ExitDiverged, "the training diverged; lower spec.training.schedule.maxLR (now 1000)",
		},
		"diverged at once": {
			func(s *spec) {
				s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(1e30), Momentum: new(0.0)}
				s.Training.Schedule = v1.ScheduleSpec{Type: v1.Constant}
			},
			contract.ExitDiverged, "the loss is NaN at step 2 of 16 (epoch 1), first in layer1.0.conv1: the training diverged; lower spec.training.optimizer.lr (now 1e+30)",
		},
		"too few outputs": {
			func(s *spec) { s.Model.NumClasses = new(int32(5)) }, contract.ExitConfig, "spec.model.numClasses is 5",
		},
		"FP16 on a CPU": {
			func(s *spec) { s.Training.Precision = v1.PrecisionFP16 }, contract.ExitConfig,
			"spec.training.precision is FP16, which needs a GPU",
		},
		"early stopping without validation": {
			func(s *spec) { s.Training.EarlyStopping = &v1.EarlyStoppingSpec{Patience: 1} }, contract.ExitConfig,
			"spec.training.earlyStopping needs images to validate on: set spec.dataset.validationFraction",
		},
		"milestone behind the end": {
			func(s *spec) { s.Training.Schedule = v1.ScheduleSpec{Type: v1.Step, Milestones: []int32{1, 2}} },
			contract.ExitConfig, "spec.training.schedule.milestones: 2 is no epoch between the warm-up and the last one, 1",
		},
		"milestone in the warm-up": {
			func(s *spec) {
				s.Training.Schedule = v1.ScheduleSpec{Type: v1.Step, Milestones: []int32{1}, WarmupEpochs: 1.5}
			},
			contract.ExitConfig, "spec.training.schedule.milestones: 1 is no epoch",
		},
		"warm-up longer than the training": {
			func(s *spec) { s.Training.Schedule = v1.ScheduleSpec{Type: v1.Cosine, WarmupEpochs: 2} },
			contract.ExitConfig, "spec.training.schedule.warmupEpochs is 2, but the training has 2 epochs",
		},
		"OneCycle without a rise": {
			func(s *spec) { s.Training.Schedule.PctStart = new(1. / 16) }, contract.ExitConfig,
			"spec.training.schedule: with 16 steps and pctStart 0.0625 the learning rate of OneCycle has no step to rise in",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no GPU" && libtorch.CUDAAvailable() {
				t.Skip("there is one")
			}
			_, err := runJob(t.Context(), t, testJob(t.TempDir(), test.change), Options{})
			if err == nil || exit.Code(err) != test.code || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("exit code %d: %v\nwant %d: %s", exit.Code(err), err, test.code, test.want)
			}
		})
	}
}

func TestOlderAttemptIsFenced(t *testing.T) {
	dir := t.TempDir()
	if _, err := runJob(t.Context(), t, testJob(dir), Options{Attempt: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := runJob(t.Context(), t, testJob(dir), Options{Attempt: 1}); exit.Code(err) != contract.ExitFenced {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
}

func TestFailedRunKeepsItsLog(t *testing.T) {
	dir := t.TempDir()
	_, err := runJob(t.Context(), t, testJob(dir, func(s *spec) { s.Training.BatchSize = 65 }), Options{})
	log, readErr := os.ReadFile(path(dir, contract.LogKey(1)))
	if readErr != nil || !strings.Contains(string(log), err.Error()) {
		t.Errorf("log %q: %v", log, readErr)
	}
}
