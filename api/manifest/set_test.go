package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSet(t *testing.T) {
	job, err := Parse([]byte(valid), "training.epochs=3", "spec.training.schedule.maxLR=0.01", "training.optimizer.betas=[0.8, 0.99]",
		"training.evaluation.flipTTA=true", "metadata.name=try", "dataset={format: Synthetic}", "storage.s3=")
	if err != nil {
		t.Fatal(err)
	}
	s := job.Spec
	got := []any{job.Name, s.Training.Epochs, s.Training.Schedule.MaxLR, s.Training.Optimizer.Betas, s.Training.Evaluation.FlipTTA,
		string(s.Dataset.Format), s.Storage.S3 == nil, s.Training.BatchSize}
	want := []any{"try", int32(3), 0.01, []float64{0.8, 0.99}, true, "Synthetic", true, int32(128)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSetErrors(t *testing.T) {
	for assignment, want := range map[string]string{
		"training.epochs":         `want FIELD=VALUE`,
		"=3":                      `want FIELD=VALUE`,
		"training..epochs=3":      `want FIELD=VALUE`,
		"training.epoch=3":        `unknown field "spec.training.epoch": did you mean "epochs"?`,
		"training.epochs=0":       "spec.training.epochs",
		"training.epochs=many":    "spec.training.epochs",
		"training.epochs={":       "is not YAML",
		"training.epochs.more=1":  "unknown field",
		"dataset.format.x=1":      "spec.dataset.format holds no fields",
		"training.batchSize=1e99": "spec.training.batchSize",
	} {
		_, err := Parse([]byte(valid), assignment)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", assignment, err, want)
		}
	}
}
