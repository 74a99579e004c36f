package checkpoint

import (
	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/history"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
)

// Tensor is a tensor in host memory.
type Tensor struct {
	// DType as safetensors names it: F32, I64, U8, …
	DType string
	// Shape is empty for a scalar.
	Shape []int64
	// Data is little-endian and row-major.
	Data []byte
}

// StateDict maps names to tensors.
type StateDict map[string]Tensor

// Snapshot is everything that a run needs to go on as if it had not been interrupted.
type Snapshot struct {
	// Model is the network's state dict: what others load.
	Model StateDict
	// State is the rest that is made of tensors: optimiser moments, loss scaler, RNG.
	State StateDict
	Meta  Meta
}

// Meta is the part of a snapshot that is not made of tensors. Floats must be finite.
type Meta struct {
	// Epoch is the number of epochs done; Step the number of optimiser steps done over all epochs.
	Epoch int32 `json:"epoch"`
	Step  int64 `json:"step"`
	// StepInEpoch is the number of steps done of the epoch under way: 0 between epochs.
	StepInEpoch int `json:"stepInEpoch"`
	// LossSum is the sum of the losses of those steps, GradNormSum that of their gradients' norms, and Counted their
	// number: without the steps that the loss scaler skipped.
	LossSum     float64 `json:"lossSum"`
	GradNormSum float64 `json:"gradNormSum"`
	Counted     int     `json:"counted"`
	// Began is the epoch of the first checkpoint after an epoch in a job that went on from the state of another training
	// (spec.resumeFrom); the history before it is of that training. Else it is 0.
	Began int32 `json:"began,omitempty"`
	// Threads is the number of compute threads: with another one, sums are rounded otherwise.
	Threads int `json:"threads"`
	// Processes is the number of processes that trained together, if there were several; each had so many threads.
	Processes int `json:"processes,omitempty"`
	// Precision is the type of convolutions and matrix products, and Kernels the instruction set, or the GPU, that they
	// were computed with; "" in checkpoints of older versions.
	Precision string `json:"precision,omitempty"`
	Kernels   string `json:"kernels,omitempty"`
	// Ranges of the activations, the least and the greatest value, by the names of package arch: what an int8 model of
	// this network quantises by, once spec.training.quantization has begun. Nil where they are not of these weights.
	Ranges map[string]quant.Range `json:"ranges,omitempty"`
	// Input is what the network takes and what its outputs mean.
	Input Input `json:"input"`
	// BestAccuracy is the highest accuracy so far, in [0, 1], of the validation images if there are any, else of the test
	// images, and BestEpoch the epoch (from 1) it was reached in; 0 before the first evaluation.
	BestAccuracy float64 `json:"bestAccuracy"`
	BestEpoch    int32   `json:"bestEpoch"`
	// History has one record for every epoch done.
	History []EpochMetrics `json:"history,omitempty"`
	// Curve is what happened within the epochs; empty in checkpoints of older versions.
	Curve history.Curve `json:"curve,omitzero"`
}

// Input describes the input of a network, and its classes: what is needed to use it without the data set.
type Input struct {
	Height   int `json:"height"`
	Width    int `json:"width"`
	Channels int `json:"channels"`
	// Resize is how long the shorter side of a picture is made before its centre is cut out; 0: as long as still covers that.
	Resize int `json:"resize,omitempty"`
	// Mean and Std normalise pixels in [0, 1], one number a channel.
	Mean []float32 `json:"mean"`
	Std  []float32 `json:"std"`
	// Classes are the names of the classes, in the order of the network's outputs. It may have more outputs.
	Classes []string `json:"classes"`
}

// EpochMetrics is the record of one epoch.
type EpochMetrics = contract.EpochMetrics

// LastTested is the record of the last epoch that was tested; nil before the first.
func (m Meta) LastTested() *EpochMetrics {
	for i := len(m.History) - 1; i >= 0; i-- {
		if m.History[i].Tested() {
			return &m.History[i]
		}
	}
	return nil
}

// lastAccuracy is that of the last test, 0 before the first.
func (m Meta) lastAccuracy() float64 {
	if last := m.LastTested(); last != nil {
		return *last.Accuracy
	}
	return 0
}

// score is the accuracy of the last epoch done that the best checkpoint is chosen by.
func (m Meta) score() float64 {
	if len(m.History) == 0 {
		return 0
	}
	return m.History[len(m.History)-1].Score()
}

// beats reports whether an epoch is at least as good as a later one: one of a quantised network is better than any before.
func beats(m, later EpochMetrics) bool {
	return m.Quantized() == later.Quantized() && m.Score() >= later.Score()
}
