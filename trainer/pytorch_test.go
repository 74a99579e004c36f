package trainer

import (
	"bytes"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
)

// TestTrainingMatchesPyTorch makes 20 steps on the batches that the loader serves. Every loss and gradient norm, and the weights and
// statistics at the end, are as close to a training in float64 as PyTorch's.
func TestTrainingMatchesPyTorch(t *testing.T) {
	const steps = 20
	for name, change := range map[string]func(s *spec){
		"AdamW, OneCycle": func(s *spec) { s.Training.LabelSmoothing = 0.1 },
		"SGD, Cosine, GroupNorm, SiLU, clipped": func(s *spec) {
			s.Model.Normalization, s.Model.Activation = v1.GroupNorm, v1.SiLU
			s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.05), DecayNormAndBias: new(false)}
			s.Training.Schedule = v1.ScheduleSpec{Type: v1.Cosine, WarmupEpochs: 0.2}
			s.Training.ClipGradNorm = new(1.0)
		},
		"TinyBatchNorm": func(s *spec) { s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.5) },
	} {
		t.Run(name, func(t *testing.T) {
			job := testJob(t.TempDir(), func(s *spec) {
				s.Dataset.MaxTrainImages = new(int32(8 * steps))
				s.Training.BatchSize, s.Training.Epochs = 8, 1
				change(s)
			})
			r := buildRun(t, job)
			var pixels []byte
			var labels []int64
			var losses, norms []float64
			for batch := range r.loader.Epoch(t.Context(), 0, 0) {
				pixels, labels = append(pixels, batch.Pixels...), append(labels, batch.Labels...)
				if err := r.step.Do(batch, r.plan.At(r.state.Step)); err != nil {
					t.Fatal(err)
				}
				numbers, err := r.step.Read(true)
				if err != nil || len(numbers) != 1 {
					t.Fatal(numbers, err)
				}
				losses, norms = append(losses, numbers[0].Loss), append(norms, numbers[0].GradNorm)
				r.state.Advance()
			}
			c := r.state.Net.Config
			params := map[string]any{
				"seed": r.plan.Seed, "channels": c.Channels, "classes": c.Classes, "widths": c.Widths, "blocks": c.Blocks,
				"groups": c.Groups, "imagenet_stem": false, "zero_init_residual": false, "activation": string(v1.ReLU),
				"mean": r.data.Mean, "std": r.data.Std, "steps": steps, "label_smoothing": r.plan.LabelSmoothing,
				"optimizer": pytorch.Optimizer(r.plan.Recipe), "schedule": pytorch.Schedule(r.plan.Recipe, steps),
			}
			if a := job.Spec.Model.Activation; a != "" {
				params["activation"] = a
			}
			if r.plan.ClipGradNorm != nil {
				params["clip"] = *r.plan.ClipGradNorm
			}
			for step := range int64(steps) {
				if r.plan.At(step).Frozen {
					params["freeze_at"] = step
					break
				}
			}
			want := pytorch.Call(t, "train", params, checkpoint.StateDict{
				"pixels": pytorch.Pack(pixels, steps, 8, 32, 32, int64(c.Channels)), "labels": pytorch.Pack(labels, steps, 8),
			})
			asExact := func(name string, got []float64) {
				t.Helper()
				theirs, exact := pytorch.Floats(want["float32."+name]), pytorch.Floats(want["float64."+name])
				pytorch.AsExact(t, name, got, theirs, exact, 4, pytorch.Roundings(steps))
			}
			asExact("losses", losses)
			asExact("norms", norms)
			after, err := r.state.Net.StateDict()
			if err != nil {
				t.Fatal(err)
			}
			for key, got := range after {
				if got.DType == "I64" {
					if w := want["float32.after."+key]; !bytes.Equal(got.Data, w.Data) {
						t.Errorf("%s: %v, PyTorch has %v", key, got.Data, w.Data)
					}
					continue
				}
				asExact("after."+key, pytorch.Floats(got))
			}
		})
	}
}
