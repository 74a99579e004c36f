package trainer

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
)

// testJob is a job of seconds: 64 synthetic images in batches of 16.
func testJob(dir string, change ...func(*v1.ResNetTrainingJobSpec)) *v1.ResNetTrainingJob {
	job := &v1.ResNetTrainingJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "test", UID: "local"},
		Spec: v1.ResNetTrainingJobSpec{
			Model:   v1.ModelSpec{Architecture: v1.ResNet18, Stem: v1.StemCIFAR},
			Dataset: v1.DatasetSpec{Format: v1.Synthetic, MaxTrainImages: new(int32(64)), MaxTestImages: new(int32(20))},
			Storage: v1.StorageSpec{URI: "file://" + dir},
			Training: v1.TrainingSpec{
				Epochs: 2, BatchSize: 16, Precision: v1.PrecisionFP32, Seed: 1,
				Optimizer:    v1.OptimizerSpec{Type: v1.AdamW, WeightDecay: new(5e-4), Betas: []float64{0.9, 0.999}, Eps: 1e-8},
				Schedule:     v1.ScheduleSpec{Type: v1.OneCycle, MaxLR: 3e-3, PctStart: new(0.3), DivFactor: 25, FinalDivFactor: 1e4},
				Augmentation: v1.AugmentationSpec{RandomCropPadding: new(int32(4)), HorizontalFlip: new(true)},
			},
		},
	}
	for _, c := range change {
		c(&job.Spec)
	}
	return job
}

func runJob(ctx context.Context, t *testing.T, job *v1.ResNetTrainingJob) (contract.Progress, error) {
	t.Helper()
	tracker := progress.NewTracker(contract.Progress{Phase: contract.PhaseLoading, StartTime: time.Now()})
	_, err := Run(ctx, job, Options{Log: t.Output(), Progress: tracker})
	return tracker.Snapshot(), err
}

func readResult(t *testing.T, dir, key string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, contract.JobPrefix("default", "test", "local"), key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var _ = slog.Default
var _ = strings.Contains
var _ atomic.Bool
var _ = exit.Code
var _ = bytes.Equal

func TestRun(t *testing.T) {
	dir := t.TempDir()
	p, err := runJob(t.Context(), t, testJob(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", p)
	t.Logf("%s", readResult(t, dir, contract.MetricsKey(1)))
}
