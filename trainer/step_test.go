package trainer

import (
	"os"
	"strconv"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// BenchmarkStep is a step of ResNet18 on one batch of synthetic images, for bench/train.sh: BATCH images in PRECISION.
func BenchmarkStep(b *testing.B) {
	batchSize, err := strconv.Atoi(os.Getenv("BATCH"))
	if err != nil {
		batchSize = 128
	}
	r := buildRun(b, testJob(b.TempDir(), func(s *spec) {
		s.Model.WidthMultiplier = 1
		s.Dataset.MaxTrainImages = new(int32(batchSize))
		s.Training.BatchSize = int32(batchSize)
		if p := os.Getenv("PRECISION"); p != "" {
			s.Training.Precision = v1.Precision(p)
		}
	}))
	for batch := range r.step.Batches(b.Context(), 0, 0) {
		if err := r.step.Do(batch, r.plan.At(0)); err != nil { // warm-up
			b.Fatal(err)
		}
		for b.Loop() {
			if err := r.step.Do(batch, r.plan.At(0)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*batchSize)/b.Elapsed().Seconds(), "images/s")
}
