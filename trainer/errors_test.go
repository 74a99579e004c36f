package trainer

import (
	"os"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
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
	} {
		t.Run(name, func(t *testing.T) {
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
