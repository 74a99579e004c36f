// Package step makes the steps of the optimiser: one implementation for every way to make them, one order of what a
// step does (core.go).
package step

import (
	"context"
	"iter"

	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/state"
)

// Step makes the steps of a training.
type Step interface {
	// Batches yields the batches that are left of an epoch (from 0), from step first (from 0) on. When ctx is cancelled
	// it ends early.
	Batches(ctx context.Context, epoch int32, first int) iter.Seq[data.Batch]
	// Do makes a step with a batch. On a GPU it does not wait for it.
	//
	// Errors: exit code 70 if this step's numbers, or on a GPU those of an earlier one, are not finite.
	Do(batch data.Batch, at recipe.Point) error
	// Read returns the numbers that are finished and were not returned before, in the order of their steps. With wait,
	// it waits for those of all steps made. Errors are those of Do.
	Read(wait bool) ([]Numbers, error)
}

// Numbers of a step. Those of steps that the loss scaler skipped are left out.
type Numbers struct{ Loss, GradNorm float64 }

// Inputs of a training, which do not change.
type Inputs struct {
	Plan   *recipe.Plan
	Data   *data.Dataset
	Loader *data.Loader
	Device libtorch.Device
	DType  libtorch.DType // of convolutions and matrix products
	Group  *group.Group   // whose processes make each step together; the loader serves this one's part
	// ClassWeights are those of the classes in the loss; nil: 1 each.
	ClassWeights []float64
	// CompressGradients lets gradients travel between processes as bfloat16.
	CompressGradients bool
}

// New returns the fastest implementation for the device.
func New(st *state.State, in Inputs) (Step, error) {
	if libtorch.HasKernels(in.Device) {
		return newGraph(st, in)
	}
	return NewEager(st, in)
}

// Eager makes steps one after the other, on any device.
type Eager struct{ core }

// NewEager returns an implementation that takes any points, not only those of the plan.
func NewEager(st *state.State, in Inputs) (*Eager, error) {
	c, err := newCore(st, in)
	return &Eager{c}, err
}

// Batches are the loader's.
func (e *Eager) Batches(ctx context.Context, epoch int32, first int) iter.Seq[data.Batch] {
	return e.Loader.Epoch(ctx, epoch, first)
}

// Do is a step, read at once on a CPU, where it is free to look at its numbers.
func (e *Eager) Do(from data.Batch, at recipe.Point) error {
	if err := e.count(at); err != nil {
		return err
	}
	err := libtorch.Do(func(s *libtorch.Scope) {
		im := &e.Data.Train
		images := s.Images(from.Pixels, from.N, im.H, im.W, e.Data.Mean, e.Data.Std, e.Device)
		rate := libtorch.Rate{LR: at.LR, Momentum: at.Momentum, Decay: at.Decay}
		if libtorch.HasKernels(e.Device) {
			rate.Device = s.Upload([]float64{at.LR, at.Momentum, at.Decay})
		}
		e.do(s, e.batch(images, s.Labels(from.Labels, e.Device), numbersOfBatch{Whole: from.Whole}), rate, at)
	})
	if err == nil {
		err = e.meet()
	}
	return e.Group.Explain(err)
}
