package trainer

import (
	"fmt"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
)

func TestOneCycle(t *testing.T) {
	for _, test := range []struct {
		steps    int64
		pctStart float64
		div      float64
		finalDiv float64
	}{
		{391 * 20, 0.3, 25, 1e4},
		{1000, 0.23, 10, 7},
		{50, 0, 25, 1e4},
		{50, 1, 25, 1e4},
		{2, 0.3, 1, 1},
		{1, 0.3, 25, 1e4},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			const maxLR = 0.1
			want := pytorch.Call(t, "one_cycle", map[string]any{
				"max_lr": maxLR, "steps": test.steps, "pct_start": test.pctStart,
				"div_factor": test.div, "final_div_factor": test.finalDiv,
			}, nil)
			schedule := newOneCycle(v1.ScheduleSpec{
				MaxLR: maxLR, PctStart: &test.pctStart, DivFactor: test.div, FinalDivFactor: test.finalDiv,
			}, test.steps)
			var got []float64
			for step := range test.steps {
				lr, beta1 := schedule.at(step)
				got = append(got, lr, beta1)
			}
			pytorch.Compare(t, "lr and beta1", got, pytorch.Floats(want["schedule"]), 1e-12)
		})
	}
}

// A peak at the very first step is a division by zero in PyTorch.
func TestOneCyclePeakAtTheStart(t *testing.T) {
	lr, beta1 := newOneCycle(v1.ScheduleSpec{MaxLR: 0.1, PctStart: new(0.1), DivFactor: 25, FinalDivFactor: 1e4}, 10).at(0)
	if lr != 0.1 || beta1 != baseMomentum {
		t.Errorf("lr %v, beta1 %v", lr, beta1)
	}
}

// TestTrainingMatchesPyTorch makes 50 steps on the batches that the loader serves.
func TestTrainingMatchesPyTorch(t *testing.T) {
	const steps = 50
	widths := []int64{8, 16, 16, 32}
	job := testJob(t.TempDir(), func(s *spec) {
		s.Dataset.MaxTrainImages = new(int32(8 * steps))
		s.Training.BatchSize, s.Training.Epochs, s.Training.LabelSmoothing = 8, 1, 0.1
	})
	r := buildRun(t, job, widths)
	var pixels []byte
	var labels []int64
	var got []float64
	for batch := range r.loader.Epoch(t.Context(), 0, 0) {
		pixels, labels = append(pixels, batch.Pixels...), append(labels, batch.Labels...)
		if err := r.step(batch); err != nil {
			t.Fatal(err)
		}
		values, err := r.losses.read()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, float64(values[0]))
		r.meta.Step++
	}
	schedule := r.spec.Schedule
	want := pytorch.Call(t, "train", map[string]any{
		"seed": r.spec.Seed, "channels": r.data.Train.C, "classes": len(r.data.Classes), "widths": widths,
		"mean": r.data.Mean, "std": r.data.Std, "steps": steps, "bf16": false,
		"max_lr": schedule.MaxLR, "weight_decay": *r.spec.Optimizer.WeightDecay, "label_smoothing": r.spec.LabelSmoothing,
	}, checkpoint.StateDict{
		"pixels": pytorch.Pack(pixels, steps, 8, 32, 32, int64(r.data.Train.C)),
		"labels": pytorch.Pack(labels, steps, 8),
	})
	pytorch.Compare(t, "losses", got, pytorch.Floats(want["losses"]), 1e-4) // here they are equal to the last bit
}
