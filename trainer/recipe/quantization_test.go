package recipe

import (
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// quantised is the plan of 10 epochs of 3 steps with quantisation.
func quantised(change func(*v1.ResNetTrainingJobSpec)) (*Plan, error) {
	spec := v1.ResNetTrainingJobSpec{Training: v1.TrainingSpec{
		Epochs: 10, BatchSize: 4, Schedule: v1.ScheduleSpec{Type: v1.Constant},
		Optimizer: v1.OptimizerSpec{Type: v1.AdamW, Betas: []float64{0.9, 0.999}}, Quantization: &v1.QuantizationSpec{}}}
	if change != nil {
		change(&spec)
	}
	return NewPlan(&spec, 12, 5)
}

func TestPhases(t *testing.T) {
	shares := func(start, freeze float64) func(*v1.ResNetTrainingJobSpec) {
		return func(s *v1.ResNetTrainingJobSpec) {
			s.Training.Quantization.StartAfter, s.Training.Quantization.FreezeObserversAfter = &start, &freeze
		}
	}
	for name, test := range map[string]struct {
		change func(*v1.ResNetTrainingJobSpec)
		// Steps from which on quantised, not observing, and frozen; 30 is never.
		starts, ends, frozen int64
	}{
		"defaults":      {nil, 21, 27, 27},
		"all the way":   {shares(0, 1), 0, 30, 30},
		"within epochs": {shares(0.15, 0.45), 5, 14, 14},
		"none": {func(s *v1.ResNetTrainingJobSpec) { s.Training.Quantization = nil },
			30, 30, 30},
		"statistics freeze before": {func(s *v1.ResNetTrainingJobSpec) {
			s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.5)
		}, 21, 27, 15},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := quantised(test.change)
			if err != nil {
				t.Fatal(err)
			}
			for step := range int64(30) {
				at := p.At(step)
				want := Point{LR: at.LR, Momentum: at.Momentum, Quantized: step >= test.starts,
					Observing: step >= test.starts && step < test.ends, Frozen: step >= test.frozen}
				if at != want || p.Quantizes(step+1) != want.Quantized {
					t.Errorf("step %d: %+v, want %+v", step, at, want)
				}
			}
		})
	}
	for want, change := range map[string]func(*v1.ResNetTrainingJobSpec){
		"precision Auto, BF16 or FP32": func(s *v1.ResNetTrainingJobSpec) { s.Training.Precision = v1.PrecisionFP16 },
		"but it is GroupNorm":          func(s *v1.ResNetTrainingJobSpec) { s.Model.Normalization = v1.GroupNorm },
		"ReLU or LeakyReLU, of which there is an int8 form, but it is SiLU":    func(s *v1.ResNetTrainingJobSpec) { s.Model.Activation = v1.SiLU },
		"freezeObserversAfter is 0.5, which must be more than startAfter, 0.5": shares(0.5, 0.5),
		"of 30 steps it starts after 16 and freezes after 16":                  shares(0.51, 0.52),
		"of 30 steps it starts after 30 and freezes after 30":                  shares(0.99, 1),
		"calibrationBatches is 0: the ranges of the average of the weights":    func(s *v1.ResNetTrainingJobSpec) { s.Training.EMA = &v1.EMASpec{Decay: new(0.9)} },
	} {
		_, err := quantised(change)
		if exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(err.Error(), "spec.training.quantization") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Early stopping waits for the quantisation, and counts from its first epoch.
func TestEarlyStoppingOfQuantised(t *testing.T) {
	for _, metric := range []v1.EarlyStoppingMetric{v1.StopOnAccuracy, v1.StopOnLoss} {
		p, err := quantised(func(s *v1.ResNetTrainingJobSpec) {
			s.Training.EarlyStopping = &v1.EarlyStoppingSpec{Patience: 2, Metric: metric}
		})
		if err != nil {
			t.Fatal(err)
		}
		// Accuracy and loss get worse in float and better quantised, and at last the other way round.
		var history []checkpoint.EpochMetrics
		var stops []bool
		for epoch := range 10 {
			accuracy, quantised := 1-float64(epoch)/10, float64(min(epoch, 6))/10
			m := checkpoint.EpochMetrics{Accuracy: &accuracy, ValidationAccuracy: &accuracy, ValidationLoss: new(1 - accuracy)}
			if epoch >= 4 {
				m.Int8Accuracy, m.ValidationInt8Accuracy, m.ValidationInt8Loss = &quantised, &quantised, new(1-quantised)
			}
			history = append(history, m)
			stop, _ := p.Stops(history)
			stops = append(stops, stop)
		}
		for epoch, stop := range stops {
			if stop != (epoch >= 8) {
				t.Errorf("%s: stops after epoch %d: %t", metric, epoch, stop)
			}
		}
	}
}
