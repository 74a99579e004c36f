package recipe_test

import (
	"math/rand/v2"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
)

// TestSchedules compares the learning rate and momentum of every step of a training.
func TestSchedules(t *testing.T) {
	adamw := v1.OptimizerSpec{Type: v1.AdamW, Betas: []float64{0.8, 0.99}, Eps: 1e-8}
	sgd := v1.OptimizerSpec{Type: v1.SGD, LR: new(0.3)}
	oneCycle := func(change func(s *v1.ScheduleSpec)) v1.ScheduleSpec {
		s := v1.ScheduleSpec{Type: v1.OneCycle, MaxLR: 0.1, PctStart: new(0.3), DivFactor: 25, FinalDivFactor: 1e4}
		change(&s)
		return s
	}
	plans, want := map[string]*recipe.Plan{}, map[string]any{}
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
		"restarts":          {20, sgd, v1.ScheduleSpec{Type: v1.CosineWarmRestarts, RestartEpochs: new(int32(6)), MinLR: new(0.01)}},
		"longer restarts":   {20, adamw, v1.ScheduleSpec{Type: v1.CosineWarmRestarts, RestartEpochs: new(int32(2)), RestartMultiplier: new(int32(3)), WarmupEpochs: 1}},
		"polynomial":        {20, sgd, v1.ScheduleSpec{Type: v1.Polynomial}},
		"polynomial, power": {20, adamw, v1.ScheduleSpec{Type: v1.Polynomial, Power: new(0.9), WarmupEpochs: 2.5}},
		"step":              {20, sgd, v1.ScheduleSpec{Type: v1.Step, Milestones: []int32{3, 4, 12}, Gamma: new(0.2)}},
		"step, warm-up":     {20, sgd, v1.ScheduleSpec{Type: v1.Step, Milestones: []int32{5, 12}, WarmupEpochs: 2, WarmupStartFactor: new(0.3)}},
		"constant":          {3, adamw, v1.ScheduleSpec{Type: v1.Constant}},
		"constant, warm-up": {3, sgd, v1.ScheduleSpec{Type: v1.Constant, WarmupEpochs: 1}},
	} {
		spec := v1.TrainingSpec{Epochs: s.epochs, BatchSize: 1, Optimizer: s.optimizer, Schedule: s.schedule}
		p, err := recipe.NewPlan(&v1.ResNetTrainingJobSpec{Training: spec}, stepsPerEpoch, 0)
		if err != nil {
			t.Fatal(err)
		}
		plans[name], want[name] = p, pytorch.Schedule(p.Recipe, stepsPerEpoch)
	}
	rows := pytorch.Call(t, "schedules", map[string]any{"schedules": want}, nil)
	for name, p := range plans {
		t.Run(name, func(t *testing.T) {
			var lrs, momenta, wantLRs, wantMomenta []float64
			for step := range p.Steps() {
				at := p.At(step)
				lrs, momenta = append(lrs, at.LR), append(momenta, at.Momentum)
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

// TestPlateau compares the learning rate of every epoch with PyTorch's, on the same validation losses and accuracies. It
// follows from the history alone, so that a training that was resumed has the same.
func TestPlateau(t *testing.T) {
	type arguments map[string]any
	rng := rand.New(rand.NewPCG(1, 2))
	const epochs = 60
	plans, args, values, metrics := map[string]*recipe.Plan{}, map[string]any{}, checkpoint.StateDict{}, map[string][]checkpoint.EpochMetrics{}
	for name, test := range map[string]struct {
		change func(s *v1.ScheduleSpec)
		args   arguments
	}{
		"defaults": {func(s *v1.ScheduleSpec) {}, arguments{}},
		"impatient": {func(s *v1.ScheduleSpec) { s.Patience, s.Factor = new(int32(0)), new(0.7) },
			arguments{"patience": 0, "factor": 0.7}},
		"cooldown": {func(s *v1.ScheduleSpec) { s.Patience, s.Cooldown, s.Factor = new(int32(2)), new(int32(4)), new(0.5) },
			arguments{"patience": 2, "cooldown": 4, "factor": 0.5}},
		"absolute, least": {func(s *v1.ScheduleSpec) {
			s.Patience, s.ThresholdMode, s.Threshold, s.MinLR = new(int32(1)), v1.ThresholdAbs, new(0.05), new(0.01)
		}, arguments{"patience": 1, "threshold_mode": "abs", "threshold": 0.05, "min_lr": 0.01}},
		"accuracy": {func(s *v1.ScheduleSpec) {
			s.Patience, s.Metric, s.Threshold = new(int32(1)), v1.StopOnAccuracy, new(0.02)
		},
			arguments{"patience": 1, "mode": "max", "threshold": 0.02}},
		"accuracy, absolute": {func(s *v1.ScheduleSpec) {
			s.Patience, s.Metric, s.ThresholdMode, s.Threshold = new(int32(1)), v1.StopOnAccuracy, v1.ThresholdAbs, new(0.02)
		}, arguments{"patience": 1, "mode": "max", "threshold": 0.02, "threshold_mode": "abs"}},
	} {
		spec := v1.TrainingSpec{Epochs: epochs, BatchSize: 1, Optimizer: v1.OptimizerSpec{Type: v1.SGD, LR: new(0.5)},
			Schedule: v1.ScheduleSpec{Type: v1.ReduceLROnPlateau}}
		test.change(&spec.Schedule)
		p, err := recipe.NewPlan(&v1.ResNetTrainingJobSpec{Training: spec}, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		var seen []float64
		for epoch := range epochs {
			value := 1/float64(1+min(epoch, 30)/5) + 0.1*rng.Float64()
			m := checkpoint.EpochMetrics{Step: int64(epoch) + 1, ValidationLoss: new(value), ValidationAccuracy: new(value)}
			if spec.Schedule.Metric == v1.StopOnAccuracy {
				value = 1 - value/2
				m.ValidationAccuracy = new(value)
			}
			seen, metrics[name] = append(seen, value), append(metrics[name], m)
		}
		plans[name], args[name], values[name] = p, test.args, pytorch.Pack(seen, epochs)
	}
	want := pytorch.Call(t, "plateaus", args, values)
	for name, p := range plans {
		var got []float64
		for epoch := range epochs {
			p.Follow(metrics[name][:epoch])
			got = append(got, p.At(int64(epoch)).LR)
		}
		pytorch.Compare(t, name, got, pytorch.Floats(want[name]), 1e-12)
		if got[epochs-1] == 0.5 {
			t.Errorf("%s: the learning rate never fell", name)
		}
	}
}
