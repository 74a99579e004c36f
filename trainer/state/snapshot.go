package state

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// Names in the state of a snapshot. An optimiser's tensors have the name of the tensor in PyTorch and that of their
// parameter behind the prefix.
const (
	optimizerPrefix = "optimizer."
	scalerPrefix    = "scaler."
	// observers are the ranges of the activations of the trained network.
	observers = "observers"
	// trainedPrefix is for the weights that are trained, where Model holds their average.
	trainedPrefix = "trained."
)

// optimizerSteps are the names of the steps of State.Optimizers.
var optimizerSteps = []string{"optimizer.step", "optimizer.unfrozen.step"}

// Snapshot copies everything that a run needs to go on. It waits for the device.
func (st *State) Snapshot() (snap checkpoint.Snapshot, err error) {
	if snap.Meta, err = st.metaCopy(); err != nil {
		return snap, err
	}
	if snap.Model, err = st.Tested().StateDict(); err != nil {
		return snap, err
	}
	snap.State = checkpoint.StateDict{}
	for i, o := range st.Optimizers {
		steps, err := o.Steps()
		if err != nil {
			return snap, err
		}
		snap.State[optimizerSteps[i]] = checkpoint.Tensor{DType: "I64", Shape: []int64{},
			Data: binary.LittleEndian.AppendUint64(nil, uint64(steps))}
	}
	for _, e := range st.tensors() {
		data, err := libtorch.Bytes(e.tensor)
		if err != nil {
			return snap, err
		}
		snap.State[e.name] = checkpoint.Tensor{DType: e.dtype, Shape: e.tensor.Shape(), Data: data}
	}
	if st.EMA == nil {
		return snap, nil
	}
	trained, err := st.Net.StateDict()
	for name, t := range trained {
		snap.State[trainedPrefix+name] = t
	}
	return snap, err
}

// Restore is the inverse of Snapshot. What this process computes with stays.
func (st *State) Restore(snap *checkpoint.Snapshot) error {
	if err := st.Tested().LoadStateDict(snap.Model); err != nil {
		return err
	}
	if st.EMA != nil {
		trained := checkpoint.StateDict{}
		for name, t := range snap.State {
			if name, ok := strings.CutPrefix(name, trainedPrefix); ok {
				trained[name] = t
			}
		}
		if err := st.Net.LoadStateDict(trained); err != nil {
			return fmt.Errorf("trained weights: %w", err)
		}
	}
	for i, o := range st.Optimizers {
		steps, ok := snap.State[optimizerSteps[i]]
		if !ok || len(steps.Data) != 8 {
			return fmt.Errorf("state: no scalar %s", optimizerSteps[i])
		}
		if err := o.SetSteps(int64(binary.LittleEndian.Uint64(steps.Data))); err != nil {
			return err
		}
	}
	for _, e := range st.tensors() {
		saved := snap.State[e.name]
		if saved.DType != e.dtype || !slices.Equal(saved.Shape, e.tensor.Shape()) {
			return fmt.Errorf("state: %s is %s%v, the recipe needs %s%v", e.name, saved.DType, saved.Shape, e.dtype,
				e.tensor.Shape())
		}
		if err := libtorch.SetBytes(e.tensor, saved.Data); err != nil {
			return err
		}
	}
	now := st.Meta
	st.Meta = snap.Meta
	st.Threads, st.Processes, st.Precision, st.Kernels = now.Threads, now.Processes, now.Precision, now.Kernels
	return nil
}

// named is a tensor of the state, beside the network's.
type named struct {
	name, dtype string
	tensor      libtorch.Tensor
}

// tensors of the optimiser, the loss scaler and the observers.
func (st *State) tensors() (all []named) {
	for _, o := range st.Optimizers {
		for slot, tensors := range o.State() {
			for i, t := range tensors {
				all = append(all, named{optimizerPrefix + slot + "." + o.Names[i], "F32", t})
			}
		}
	}
	for _, t := range st.Net.Observers() {
		all = append(all, named{observers, "F32", t})
	}
	if st.Scaler != nil {
		all = append(all, named{scalerPrefix + "scale", "F32", st.Scaler.Scale},
			named{scalerPrefix + "growth_tracker", "I32", st.Scaler.GrowthTracker})
	}
	return all
}
