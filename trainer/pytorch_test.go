package trainer

import (
	"bytes"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
)

// peerOptimizer describes the optimiser of a recipe to peer.py.
func peerOptimizer(r recipe) map[string]any {
	o := r.spec.Optimizer
	p := map[string]any{
		"type": o.Type, "lr": r.lr, "momentum": r.momentum, "weight_decay": value(o.WeightDecay, 5e-4),
		"decay_norm_and_bias": value(o.DecayNormAndBias, true), "dampening": r.dampening, "nesterov": r.nesterov, "eps": o.Eps,
	}
	if o.Type == v1.AdamW {
		p["beta2"] = o.Betas[1]
	}
	return p
}

// peerSchedule describes the schedule of a recipe of so many steps to peer.py.
func peerSchedule(r recipe, stepsPerEpoch int) map[string]any {
	s := r.schedule
	warmup := int(s.WarmupEpochs * float64(stepsPerEpoch))
	args := map[string]any{}
	switch s.Type {
	case v1.OneCycle:
		args = map[string]any{
			"max_lr": s.MaxLR, "pct_start": *s.PctStart, "div_factor": s.DivFactor, "final_div_factor": s.FinalDivFactor,
			"cycle_momentum": *s.CycleMomentum, "base_momentum": *s.BaseMomentum, "max_momentum": *s.MaxMomentum,
			"three_phase": *s.ThreePhase, "anneal_strategy": strings.ToLower(string(s.AnnealStrategy)),
		}
		if s.AnnealStrategy == "" {
			delete(args, "anneal_strategy")
		}
	case v1.Cosine:
		args["eta_min"] = *s.MinLR
	case v1.Step:
		var milestones []int
		for _, m := range s.Milestones {
			milestones = append(milestones, int(m)*stepsPerEpoch-warmup)
		}
		args = map[string]any{"milestones": milestones, "gamma": *s.Gamma}
	}
	return map[string]any{
		"optimizer": peerOptimizer(r), "type": s.Type, "steps": int(r.epochs) * stepsPerEpoch, "warmup": warmup,
		"start_factor": *s.WarmupStartFactor, "args": args,
	}
}

// TestSchedules compares the learning rate and momentum of every step of a training.
func TestSchedules(t *testing.T) {
	adamw := v1.OptimizerSpec{Type: v1.AdamW, Betas: []float64{0.8, 0.99}, Eps: 1e-8}
	sgd := v1.OptimizerSpec{Type: v1.SGD, LR: new(0.3)}
	oneCycle := func(change func(s *v1.ScheduleSpec)) v1.ScheduleSpec {
		s := v1.ScheduleSpec{Type: v1.OneCycle, MaxLR: 0.1, PctStart: new(0.3), DivFactor: 25, FinalDivFactor: 1e4}
		change(&s)
		return s
	}
	recipes, want := map[string]recipe{}, map[string]any{}
	const stepsPerEpoch = 10
	for name, s := range map[string]struct {
		epochs    int32
		optimizer v1.OptimizerSpec
		schedule  v1.ScheduleSpec
	}{
		"one cycle":         {200, adamw, oneCycle(func(*v1.ScheduleSpec) {})},
		"other shape":       {20, sgd, oneCycle(func(s *v1.ScheduleSpec) { *s.PctStart, s.DivFactor, s.FinalDivFactor = 0.234, 10, 7 })},
		"peak at the start": {5, adamw, oneCycle(func(s *v1.ScheduleSpec) { *s.PctStart = 0 })},
		"peak at the end":   {5, adamw, oneCycle(func(s *v1.ScheduleSpec) { *s.PctStart = 1 })},
		"linear":            {20, sgd, oneCycle(func(s *v1.ScheduleSpec) { s.AnnealStrategy = v1.AnnealLinear })},
		"own momenta":       {20, sgd, oneCycle(func(s *v1.ScheduleSpec) { s.BaseMomentum, s.MaxMomentum = new(0.5), new(0.9) })},
		"momentum stays":    {20, adamw, oneCycle(func(s *v1.ScheduleSpec) { s.CycleMomentum = new(false) })},
		"three phases":      {20, sgd, oneCycle(func(s *v1.ScheduleSpec) { s.ThreePhase = new(true) })},
		"three, long rise":  {7, sgd, oneCycle(func(s *v1.ScheduleSpec) { s.ThreePhase, *s.PctStart = new(true), 0.6 })},
		"cosine":            {20, sgd, v1.ScheduleSpec{Type: v1.Cosine, MinLR: new(0.01)}},
		"cosine, warm-up":   {30, adamw, v1.ScheduleSpec{Type: v1.Cosine, WarmupEpochs: 2.5}},
		"step":              {20, sgd, v1.ScheduleSpec{Type: v1.Step, Milestones: []int32{3, 4, 12}, Gamma: new(0.2)}},
		"step, warm-up":     {20, sgd, v1.ScheduleSpec{Type: v1.Step, Milestones: []int32{5, 12}, WarmupEpochs: 2, WarmupStartFactor: new(0.3)}},
		"constant":          {3, adamw, v1.ScheduleSpec{Type: v1.Constant}},
		"constant, warm-up": {3, sgd, v1.ScheduleSpec{Type: v1.Constant, WarmupEpochs: 1}},
	} {
		recipes[name] = resolve(v1.TrainingSpec{Epochs: s.epochs, Optimizer: s.optimizer, Schedule: s.schedule})
		want[name] = peerSchedule(recipes[name], stepsPerEpoch)
	}
	rows := pytorch.Call(t, "schedules", map[string]any{"schedules": want}, nil)
	for name, r := range recipes {
		t.Run(name, func(t *testing.T) {
			schedule, err := newSchedule(r, stepsPerEpoch)
			if err != nil {
				t.Fatal(err)
			}
			var lrs, momenta, wantLRs, wantMomenta []float64
			for step := range int64(r.epochs) * stepsPerEpoch {
				lr, momentum := schedule(step)
				lrs, momenta = append(lrs, lr), append(momenta, momentum)
			}
			for i, v := range pytorch.Floats(rows[name]) {
				if i%2 == 0 {
					wantLRs = append(wantLRs, v)
				} else {
					wantMomenta = append(wantMomenta, v)
				}
			}
			pytorch.Compare(t, "lr", lrs, wantLRs, 1e-12)
			pytorch.Compare(t, "momentum", momenta, wantMomenta, 1e-12)
		})
	}
}

// TestTrainingMatchesPyTorch makes 50 steps on the batches that the loader serves. Every loss and gradient norm, and the weights and
// statistics at the end, are as close to a training in float64 as PyTorch's.
func TestTrainingMatchesPyTorch(t *testing.T) {
	const steps = 50
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
				before := r.meta
				if err := r.step(batch); err != nil {
					t.Fatal(err)
				}
				losses = append(losses, r.meta.LossSum-before.LossSum)
				norms = append(norms, r.meta.GradNormSum-before.GradNormSum)
				r.meta.Step++
			}
			c := r.model.Config
			params := map[string]any{
				"seed": r.spec.Seed, "channels": c.Channels, "classes": c.Classes, "widths": c.Widths, "blocks": c.Blocks,
				"groups": c.Groups, "imagenet_stem": false, "zero_init_residual": false, "activation": string(v1.ReLU),
				"mean": r.data.Mean, "std": r.data.Std, "steps": steps, "label_smoothing": r.spec.LabelSmoothing,
				"optimizer": peerOptimizer(r.recipe), "schedule": peerSchedule(r.recipe, steps),
			}
			if a := job.Spec.Model.Activation; a != "" {
				params["activation"] = a
			}
			if r.spec.ClipGradNorm != nil {
				params["clip"] = *r.spec.ClipGradNorm
			}
			if r.freezeAt >= 0 {
				params["freeze_at"] = r.freezeAt
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
			after, err := r.model.StateDict()
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
