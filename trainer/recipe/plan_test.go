package recipe

import (
	"math"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

func TestEarlyStopping(t *testing.T) {
	history := func(accuracies, losses []float64) (h []checkpoint.EpochMetrics) {
		for i := range accuracies {
			h = append(h, checkpoint.EpochMetrics{ValidationAccuracy: &accuracies[i], ValidationLoss: &losses[i]})
		}
		return h
	}
	for name, test := range map[string]struct {
		spec       v1.EarlyStoppingSpec
		accuracies []float64
		losses     []float64
		want       int32
	}{
		"nothing yet":         {v1.EarlyStoppingSpec{}, nil, nil, 0},
		"first epoch":         {v1.EarlyStoppingSpec{}, []float64{0}, []float64{9}, 0},
		"accuracy rises":      {v1.EarlyStoppingSpec{}, []float64{0.1, 0.2, 0.3}, []float64{1, 2, 3}, 0},
		"equal is no better":  {v1.EarlyStoppingSpec{}, []float64{0.1, 0.1, 0.1}, []float64{3, 2, 1}, 2},
		"loss falls":          {v1.EarlyStoppingSpec{Metric: v1.StopOnLoss}, []float64{0.1, 0.1, 0.1}, []float64{3, 2, 1}, 0},
		"loss rises":          {v1.EarlyStoppingSpec{Metric: v1.StopOnLoss}, []float64{0.1, 0.2, 0.3}, []float64{1, 2, 3}, 2},
		"less than min delta": {v1.EarlyStoppingSpec{MinDelta: 0.05}, []float64{0.1, 0.14, 0.16, 0.2}, []float64{1, 1, 1, 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := epochsWithoutImprovement(test.spec, history(test.accuracies, test.losses)); got != test.want {
				t.Errorf("%d epochs without improvement, want %d", got, test.want)
			}
		})
	}
}

// TestAverageForgetsTheInitialWeights: after an epoch of 390 steps next to nothing of them is left.
func TestAverageForgetsTheInitialWeights(t *testing.T) {
	for _, test := range []struct {
		decay float64
		step  int64
		want  float64
	}{{0.999, 0, 0}, {0.999, 1, 1 - math.Pow(2, -2./3)}, {0.99, 998, 0.99}, {0.99, 100000, 0.99}, {0, 5, 0}, {0.5, 1, 1 - math.Pow(2, -2./3)}} {
		if got := averageDecay(test.decay, test.step); math.Abs(got-test.want) > 1e-4 {
			t.Errorf("decay %g at step %d: %g, want %g", test.decay, test.step, got, test.want)
		}
	}
}
