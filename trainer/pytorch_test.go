package trainer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
)

// TestTrainingMatchesPyTorch makes the steps of a training on the batches that the loader serves, each from the state that PyTorch has
// there: a training amplifies differences in the last digit so that even PyTorch with other convolutions leaves PyTorch
// (docs/performance.md). What a step leaves is as close to a step in float64 as PyTorch's in float32. The activation is smooth: where a
// number near 0 falls on the other side of ReLU, gradients change by some thousandths (TestGradients in package resnet).
func TestTrainingMatchesPyTorch(t *testing.T) {
	const steps, batchSize = 10, 8
	for name, change := range map[string]func(s *spec){
		"AdamW, OneCycle": func(s *spec) { s.Training.LabelSmoothing = 0.1 },
		"SGD, Cosine, GroupNorm, clipped": func(s *spec) {
			s.Model.Normalization = v1.GroupNorm
			s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.05), DecayNormAndBias: new(false)}
			s.Training.Schedule = v1.ScheduleSpec{Type: v1.Cosine, WarmupEpochs: 0.2}
			s.Training.ClipGradNorm = new(1.0)
		},
		"frozen parts": func(s *spec) {
			s.Training.Freeze = []string{"conv1", "bn1", "layer1", "layer2.0.bn2"}
			s.Training.LRMultipliers = map[string]float64{"fc": 10, "layer3": 0.5, "layer3.1": 2}
		},
		"frozen parts that thaw": func(s *spec) {
			s.Training.Epochs, s.Training.UnfreezeAfterEpochs = 2, new(int32(1))
			s.Training.Freeze = []string{"conv1", "bn1", "layer1", "layer2"}
		},
		"frozen parts that thaw, SGD": func(s *spec) {
			s.Training.Epochs, s.Training.UnfreezeAfterEpochs = 2, new(int32(1))
			s.Training.Freeze, s.Training.LRMultipliers = []string{"layer4"}, map[string]float64{"layer4": 0.1}
			s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.05), Dampening: new(0.3)}
			s.Training.Schedule = v1.ScheduleSpec{Type: v1.Constant}
		},
		"TinyBatchNorm": func(s *spec) { s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.5) },
	} {
		t.Run(name, func(t *testing.T) {
			job := testJob(t.TempDir(), func(s *spec) {
				s.Training.BatchSize, s.Training.Epochs = batchSize, 1
				s.Model.Activation = v1.SiLU
				change(s)
				s.Dataset.MaxTrainImages = new(batchSize * steps / s.Training.Epochs)
			})
			r := buildRun(t, job)
			var batches []data.Batch
			var pixels []byte
			var labels []int64
			for epoch := range r.plan.Epochs {
				for b := range r.loader.Epoch(t.Context(), epoch, 0) {
					batches = append(batches, data.Batch{Pixels: bytes.Clone(b.Pixels), Labels: slices.Clone(b.Labels), N: b.N})
					pixels, labels = append(pixels, b.Pixels...), append(labels, b.Labels...)
				}
			}
			want := pytorch.Call(t, "train", peerTraining(r, steps), checkpoint.StateDict{
				"pixels": pytorch.Pack(pixels, steps, batchSize, 32, 32, int64(r.state.Net.Config.Channels)),
				"labels": pytorch.Pack(labels, steps, batchSize),
			})
			for i, batch := range batches {
				restoreFrom(t, r, want, i)
				if err := r.step.Do(batch, r.plan.At(r.state.Step)); err != nil {
					t.Fatal(err)
				}
				compareStep(t, r, want, i)
				r.state.Advance()
			}
		})
	}
}

// peerTraining describes a training to peer.py.
func peerTraining(r *run, steps int) map[string]any {
	params := pytorch.Network(r.state.Net.Config)
	maps.Copy(params, map[string]any{
		"seed": r.plan.Seed, "mean": r.data.Mean, "std": r.data.Std, "steps": steps, "label_smoothing": r.plan.LabelSmoothing,
		"optimizer": pytorch.Optimizer(r.plan.Recipe), "schedule": pytorch.Schedule(r.plan.Recipe, r.plan.StepsPerEpoch),
	})
	if r.plan.ClipGradNorm != nil {
		params["clip"] = *r.plan.ClipGradNorm
	}
	params["freeze"] = r.plan.Freeze
	first := func(key string, is func(at recipe.Point) bool) {
		for step := range steps {
			if is(r.plan.At(int64(step))) {
				params[key] = step
				return
			}
		}
	}
	first("freeze_at", func(at recipe.Point) bool { return at.Frozen })
	first("unfreeze_at", func(at recipe.Point) bool { return !at.PartsFrozen })
	return params
}

// restoreFrom gives a run the state that PyTorch has before a step. Before the first one it has the same bits.
func restoreFrom(t *testing.T, r *run, want checkpoint.StateDict, step int) {
	t.Helper()
	if step == 0 {
		return
	}
	snap := checkpoint.Snapshot{Model: checkpoint.StateDict{}, Meta: r.state.Meta}
	steps := func(n int) checkpoint.Tensor {
		return checkpoint.Tensor{DType: "I64", Shape: []int64{}, Data: binary.LittleEndian.AppendUint64(nil, uint64(n))}
	}
	snap.State = checkpoint.StateDict{"optimizer.step": steps(step)}
	if len(r.state.Optimizers) > 1 { // what PyTorch has none of yet is zero here
		now, err := r.state.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		snap.State = now.State
		snap.State["optimizer.step"] = steps(step)
		snap.State["optimizer.unfrozen.step"] = steps(max(0, step-int(*r.plan.UnfreezeAfterEpochs)*r.plan.StepsPerEpoch))
	}
	for name, tensor := range want {
		if key, ok := strings.CutPrefix(name, fmt.Sprintf("%d.before.", step)); ok {
			snap.Model[key] = tensor
		}
		if key, ok := strings.CutPrefix(name, fmt.Sprintf("%d.optimizer.", step)); ok {
			snap.State["optimizer."+key] = tensor
		}
	}
	if err := r.state.Restore(&snap); err != nil {
		t.Fatal(err)
	}
}

// compareStep compares loss, norm of the gradients, and weights and statistics after a step. Tensors of a kind are compared together:
// which way the eight numbers of a bias are rounded is luck.
func compareStep(t *testing.T, r *run, want checkpoint.StateDict, step int) {
	t.Helper()
	numbers, err := r.step.Read(true)
	if err != nil || len(numbers) != 1 {
		t.Fatal(numbers, err)
	}
	got := map[string][]float64{"loss": {numbers[0].Loss}, "norm": {numbers[0].GradNorm}}
	theirs, exact := map[string][]float64{}, map[string][]float64{}
	for k := range got {
		theirs[k] = pytorch.Floats(want[fmt.Sprintf("%d.float32.%s", step, k)])
		exact[k] = pytorch.Floats(want[fmt.Sprintf("%d.float64.%s", step, k)])
	}
	after, err := r.state.Net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		w := want[fmt.Sprintf("%d.float32.after.%s", step, key)]
		if after[key].DType == "I64" {
			if !bytes.Equal(after[key].Data, w.Data) {
				t.Errorf("step %d: %s: %v, PyTorch has %v", step, key, after[key].Data, w.Data)
			}
			continue
		}
		kind := fmt.Sprintf("%s of %d dimensions", key[strings.LastIndexByte(key, '.')+1:], len(after[key].Shape))
		got[kind] = append(got[kind], pytorch.Floats(after[key])...)
		theirs[kind] = append(theirs[kind], pytorch.Floats(w)...)
		exact[kind] = append(exact[kind], pytorch.Floats(want[fmt.Sprintf("%d.float64.after.%s", step, key)])...)
	}
	for k := range got { // some 50 operations forward, and as many backward, round one after the other
		pytorch.AsExact(t, fmt.Sprintf("step %d: %s", step, k), got[k], theirs[k], exact[k], 4, pytorch.Roundings(100))
	}
}
