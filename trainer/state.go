package trainer

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// Names in the state of a snapshot. An optimiser's tensors have the name of the tensor in PyTorch and that of their
// parameter behind the prefix.
const (
	optimizerStep   = "optimizer.step"
	optimizerPrefix = "optimizer."
	scalerPrefix    = "scaler."
	// trainedPrefix is for the weights that are trained, where Model holds their average.
	trainedPrefix = "trained."
)

// snapshot copies everything that a run needs to go on.
func (r *run) snapshot() (snap checkpoint.Snapshot, err error) {
	if err := r.readNumbers(libtorch.Tensor{}); err != nil { // into r.meta
		return snap, err
	}
	snap.Meta = r.meta
	snap.Meta.History = slices.Clone(r.meta.History)
	if snap.Model, err = r.tested().StateDict(); err != nil {
		return snap, err
	}
	steps, err := r.optimizer.Steps()
	if err != nil {
		return snap, err
	}
	snap.State = checkpoint.StateDict{optimizerStep: {DType: "I64", Shape: []int64{}, Data: binary.LittleEndian.AppendUint64(nil, uint64(steps))}}
	for _, e := range r.stateTensors() {
		data, err := libtorch.Bytes(e.tensor)
		if err != nil {
			return snap, err
		}
		snap.State[e.name] = checkpoint.Tensor{DType: e.dtype, Shape: e.tensor.Shape(), Data: data}
	}
	if r.ema == nil {
		return snap, nil
	}
	trained, err := r.model.StateDict()
	for name, t := range trained {
		snap.State[trainedPrefix+name] = t
	}
	return snap, err
}

// restore is the inverse of snapshot.
func (r *run) restore(snap *checkpoint.Snapshot) error {
	if err := r.tested().LoadStateDict(snap.Model); err != nil {
		return err
	}
	if r.ema != nil {
		trained := checkpoint.StateDict{}
		for name, t := range snap.State {
			if name, ok := strings.CutPrefix(name, trainedPrefix); ok {
				trained[name] = t
			}
		}
		if err := r.model.LoadStateDict(trained); err != nil {
			return fmt.Errorf("trained weights: %w", err)
		}
	}
	steps, ok := snap.State[optimizerStep]
	if !ok || len(steps.Data) != 8 {
		return fmt.Errorf("state: no scalar %s", optimizerStep)
	}
	if err := r.optimizer.SetSteps(int64(binary.LittleEndian.Uint64(steps.Data))); err != nil {
		return err
	}
	for _, e := range r.stateTensors() {
		saved := snap.State[e.name]
		if saved.DType != e.dtype || !slices.Equal(saved.Shape, e.tensor.Shape()) {
			return fmt.Errorf("state: %s is %s%v, the recipe needs %s%v", e.name, saved.DType, saved.Shape, e.dtype, e.tensor.Shape())
		}
		if err := libtorch.SetBytes(e.tensor, saved.Data); err != nil {
			return err
		}
	}
	now := r.meta
	r.meta = snap.Meta
	r.compareCompute(r.meta, now)
	r.meta.Threads, r.meta.Precision, r.meta.Kernels = now.Threads, now.Precision, now.Kernels
	return nil
}

// stateTensor is a tensor of the state, beside the network's.
type stateTensor struct {
	name, dtype string
	tensor      libtorch.Tensor
}

// stateTensors of the optimiser and the loss scaler.
func (r *run) stateTensors() (all []stateTensor) {
	for slot, tensors := range r.optimizer.State() {
		for i, t := range tensors {
			all = append(all, stateTensor{optimizerPrefix + slot + "." + r.paramNames[i], "F32", t})
		}
	}
	if r.scaler != nil {
		all = append(all, stateTensor{scalerPrefix + "scale", "F32", r.scaler.Scale},
			stateTensor{scalerPrefix + "growth_tracker", "I32", r.scaler.GrowthTracker})
	}
	return all
}

// resume goes on from the newest checkpoint, if there is one, and else from spec.resumeFrom.
func (r *run) resume(ctx context.Context, checkpoints *checkpoint.Checkpoints) error {
	snap, name, err := checkpoints.Resume(ctx)
	if err != nil {
		return err
	}
	if snap == nil {
		return r.resumeFrom(ctx)
	}
	if err := r.restore(snap); err != nil {
		return exit.Errorf(contract.ExitConfig, "checkpoint %s does not fit: %w", name, err)
	}
	r.saver.Resumed(r.meta)
	r.log.Info("resumed", "checkpoint", name, "epoch", r.meta.Epoch, "step", r.meta.Step)
	return nil
}

// saveEpoch saves the state after an epoch, if a checkpoint is due. The last epoch's is up to finish.
func (r *run) saveEpoch(ctx context.Context) error {
	if !r.meta.Due(r.checkpointEvery()) {
		return nil
	}
	return r.saver.Save(ctx, r.snapshot, r.meta.IsBest(r.checkpointEvery(), false))
}

func (r *run) checkpointEvery() int32 { return max(1, r.job.Spec.Checkpoint.EveryEpochs) }
