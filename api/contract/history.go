package contract

import (
	"math"
	"reflect"
	"slices"
)

// History is what a trainer serves on HistoryPath: the curves of a run so far, those of earlier attempts included.
type History struct {
	// UID of the ResNetTrainingJob, as in Progress.
	UID     string `json:"uid"`
	Attempt int32  `json:"attempt"`
	// Steps are the curves within the epochs, in the order of the steps and of bounded number: the longer the run, the
	// more steps a record stands for.
	Steps []StepMetrics `json:"steps"`
	// Epochs are at most MaxEpochs records: of more epochs, some are left out. The last one is always there.
	Epochs []EpochMetrics `json:"epochs"`
}

// MaxEpochs is how many records of epochs a History has at most; metrics.jsonl has all.
const MaxEpochs = 1000

// StepMetrics is the record of some successive steps: a line of steps.jsonl.
type StepMetrics struct {
	// Step is the last of them, counted from 1 over all epochs; Steps how many they are. Steps that the loss scaler skipped
	// are not counted.
	Step  int64 `json:"step"`
	Steps int64 `json:"steps"`
	// Loss and GradNorm are means over them: see EpochMetrics.
	Loss     float64 `json:"loss"`
	GradNorm float64 `json:"gradNorm"`
	// LR is that of the last one.
	LR float64 `json:"lr"`
	// ImagesPerSecond is the training throughput of the epoch up to the last one.
	ImagesPerSecond float64 `json:"imagesPerSecond"`
}

// EpochMetrics is the record of one epoch: a line of metrics.jsonl.
type EpochMetrics struct {
	// Epoch counts from 1; Step is the number of optimiser steps done after it.
	Epoch int32 `json:"epoch"`
	Step  int64 `json:"step"`
	// TrainLoss is the mean loss of the epoch's steps, TestLoss that of the test images. What is of a test is absent in
	// epochs that were not tested (training.evaluation.everyEpochs).
	TrainLoss float64  `json:"trainLoss"`
	TestLoss  *float64 `json:"testLoss,omitempty"`
	// Accuracy is the top-1 test accuracy in [0, 1], Top5Accuracy the top-5 one (only with more than five classes).
	Accuracy     *float64 `json:"accuracy,omitempty"`
	Top5Accuracy *float64 `json:"top5Accuracy,omitempty"`
	// FlipTTAAccuracy is Accuracy with the logits of image and mirror image averaged (training.evaluation.flipTTA).
	FlipTTAAccuracy *float64 `json:"flipTTAAccuracy,omitempty"`
	// ValidationLoss and ValidationAccuracy are those of the held-out images (dataset.validationFraction).
	ValidationLoss     *float64 `json:"validationLoss,omitempty"`
	ValidationAccuracy *float64 `json:"validationAccuracy,omitempty"`
	// Int8Accuracy is the accuracy of the network with weights and activations quantised, and Int8Agreement the share of
	// test images that it takes for the same class as without, once spec.training.quantization has begun.
	// ValidationInt8Loss and ValidationInt8Accuracy are those of the held-out images.
	Int8Accuracy           *float64 `json:"int8Accuracy,omitempty"`
	Int8Agreement          *float64 `json:"int8Agreement,omitempty"`
	ValidationInt8Loss     *float64 `json:"validationInt8Loss,omitempty"`
	ValidationInt8Accuracy *float64 `json:"validationInt8Accuracy,omitempty"`
	// LR and Momentum (AdamW: beta1) are those of the epoch's last step.
	LR       float64 `json:"lr"`
	Momentum float64 `json:"momentum"`
	// GradNorm is the mean 2-norm of the gradients of the epoch's steps, unscaled and before clipping.
	GradNorm float64 `json:"gradNorm"`
	// LossScale is the GradScaler's after the epoch (FP16 only).
	LossScale       *float64 `json:"lossScale,omitempty"`
	ImagesPerSecond float64  `json:"imagesPerSecond"`
	// DataWait is the share, in [0, 1], of the training time in which a step waited for its batch.
	DataWait float64 `json:"dataWait"`
	// MemoryBytes is the peak so far: resident memory of the process or, on a GPU, memory allocated there.
	MemoryBytes int64 `json:"memoryBytes"`
	// Seconds is the wall time of the epoch, its evaluation included.
	Seconds float64 `json:"seconds"`
}

// Tested reports whether the network was tested after the epoch.
func (m EpochMetrics) Tested() bool { return m.Accuracy != nil }

// TestedEpochs are those of the epochs after which the network was tested.
func TestedEpochs(epochs []EpochMetrics) []EpochMetrics {
	return slices.DeleteFunc(slices.Clone(epochs), func(m EpochMetrics) bool { return !m.Tested() })
}

// Quantized reports whether the network was also tested quantised.
func (m EpochMetrics) Quantized() bool { return m.Int8Accuracy != nil }

// Score of a tested epoch is the accuracy that the best checkpoint is chosen by: that of the held-out images, if there are any, and of the
// quantised network, once there is one.
func (m EpochMetrics) Score() float64 {
	for _, accuracy := range []*float64{m.ValidationInt8Accuracy, m.Int8Accuracy, m.ValidationAccuracy, m.Accuracy} {
		if accuracy != nil {
			return *accuracy
		}
	}
	return 0
}

// Loss is that of the held-out images, of the quantised network once there is one.
func (m EpochMetrics) Loss() float64 {
	if m.ValidationInt8Loss != nil {
		return *m.ValidationInt8Loss
	}
	return *m.ValidationLoss
}

// FiniteEpochs returns a copy in which numbers that are not finite are 0, or absent where they may be: JSON has no word
// for them.
func FiniteEpochs(epochs []EpochMetrics) []EpochMetrics {
	epochs = slices.Clone(epochs)
	for i := range epochs {
		for _, field := range reflect.ValueOf(&epochs[i]).Elem().Fields() {
			switch v := field.Interface().(type) {
			case float64:
				if !finite(v) {
					field.SetFloat(0)
				}
			case *float64:
				if v != nil && !finite(*v) {
					field.SetZero()
				}
			}
		}
	}
	return epochs
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
