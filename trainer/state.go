package trainer

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// Names in the state of a snapshot. The moments are followed by the name of their parameter.
const (
	optimizerStep = "optimizer.step"
	expAvg        = "optimizer.exp_avg."
	expAvgSq      = "optimizer.exp_avg_sq."
)

// snapshot copies everything that a run needs to go on.
func (r *run) snapshot() (snap checkpoint.Snapshot, err error) {
	if err := r.readLosses(); err != nil { // into r.meta
		return snap, err
	}
	snap.Meta = r.meta
	snap.Meta.History = slices.Clone(r.meta.History)
	if snap.Model, err = r.model.StateDict(); err != nil {
		return snap, err
	}
	steps := binary.LittleEndian.AppendUint64(nil, uint64(r.optimizer.Steps))
	snap.State = checkpoint.StateDict{optimizerStep: {DType: "I64", Shape: []int64{}, Data: steps}}
	for name, t := range r.moments() {
		data, err := libtorch.Bytes(t)
		if err != nil {
			return snap, err
		}
		snap.State[name] = checkpoint.Tensor{DType: "F32", Shape: t.Shape(), Data: data}
	}
	return snap, nil
}

// restore is the inverse of snapshot.
func (r *run) restore(snap *checkpoint.Snapshot) error {
	if err := r.model.LoadStateDict(snap.Model); err != nil {
		return err
	}
	steps, ok := snap.State[optimizerStep]
	if !ok || len(steps.Data) != 8 {
		return fmt.Errorf("state: no scalar %s", optimizerStep)
	}
	r.optimizer.Steps = int64(binary.LittleEndian.Uint64(steps.Data))
	for name, t := range r.moments() {
		saved := snap.State[name]
		if saved.DType != "F32" || !slices.Equal(saved.Shape, t.Shape()) {
			return fmt.Errorf("state: %s is %s%v, the optimiser needs F32%v", name, saved.DType, saved.Shape, t.Shape())
		}
		if err := libtorch.SetBytes(t, saved.Data); err != nil {
			return err
		}
	}
	r.meta = snap.Meta
	return nil
}

// moments of the optimiser by their names in the state.
func (r *run) moments() map[string]libtorch.Tensor {
	m := map[string]libtorch.Tensor{}
	for i, name := range r.paramNames {
		m[expAvg+name] = r.optimizer.ExpAvg[i]
		m[expAvgSq+name] = r.optimizer.ExpAvgSq[i]
	}
	return m
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
	if r.meta.Epoch%r.checkpointEvery() != 0 {
		return nil
	}
	return r.saver.Save(ctx, r.snapshot, r.isBest())
}

func (r *run) checkpointEvery() int32 { return max(1, r.job.Spec.Checkpoint.EveryEpochs) }

// isBest reports whether the state after the last epoch is better than all those that were saved after earlier ones. It
// does not depend on what was lost since.
func (r *run) isBest() bool {
	last := len(r.meta.History) - 1
	if last < 0 || r.meta.StepInEpoch > 0 {
		return false
	}
	for _, m := range r.meta.History[:last] {
		if m.Epoch%r.checkpointEvery() == 0 && m.Score() >= r.meta.History[last].Score() {
			return false
		}
	}
	return true
}
