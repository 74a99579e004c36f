package trainer

import (
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// stopsEarly reports whether training has stopped to improve.
func (r *run) stopsEarly() bool {
	spec := r.spec.EarlyStopping
	if spec == nil || r.meta.StepInEpoch > 0 {
		return false
	}
	since := epochsWithoutImprovement(*spec, r.meta.History)
	if since < spec.Patience {
		return false
	}
	r.log.Info("stopping early: the validation set no longer improves", "metric", spec.Metric, "epoch", r.meta.Epoch,
		"epochsWithoutImprovement", since, "patience", spec.Patience)
	return true
}

// epochsWithoutImprovement follows from the history alone, so that a run that was resumed stops where it would have.
func epochsWithoutImprovement(spec v1.EarlyStoppingSpec, history []checkpoint.EpochMetrics) (since int32) {
	var best float64
	for i, m := range history {
		now := *m.ValidationAccuracy
		if spec.Metric == v1.StopOnLoss {
			now = -*m.ValidationLoss
		}
		since++
		if i == 0 || now > best+spec.MinDelta {
			best, since = now, 0
		}
	}
	return since
}
