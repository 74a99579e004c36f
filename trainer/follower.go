package trainer

import (
	"context"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/eval"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/state"
	"github.com/resnet-operator/resnet-operator/trainer/step"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// recorder tells what happens in a run: see record.Recorder.
type recorder interface {
	Open(ctx context.Context, st store.Store, attempt int32) error
	Close(ctx context.Context, err error)
	Phase(phase contract.Phase)
	Committed(c contract.Checkpoint)
	Begin(st *state.State, t step.Inputs)
	BeginEpoch()
	NeedsNumbers() bool
	Step(st *state.State)
	Trained(st *state.State) (checkpoint.EpochMetrics, error)
	Tested(e *eval.Evaluation)
	Epoch(st *state.State) error
	EpochSeconds() float64
	EndEarly(ctx context.Context, st *state.State, cause error)
	SaveMetrics(ctx context.Context, st *state.State) error
	SaveReport(ctx context.Context, st *state.State) error
	Artifacts() contract.Artifacts
}

// saver keeps the state of a run: see checkpoint.Saver.
type saver interface {
	Step(ctx context.Context, take checkpoint.Take) error
	Save(ctx context.Context, take checkpoint.Take, best bool) error
	SaveNow(ctx context.Context, take checkpoint.Take, best bool) error
	Resumed(m checkpoint.Meta)
	Has(m checkpoint.Meta) bool
	Flush(ctx context.Context) error
}

// silent is the recorder of the processes above rank 0, which records for all. It only tells whoever asks this node what
// it does, and that it has begun.
type silent struct {
	progress *progress.Tracker // nil if nobody can ask
}

func (s silent) Phase(phase contract.Phase) {
	if s.progress != nil {
		s.progress.Update(func(p *contract.Progress) { p.Phase = phase })
	}
}

func (s silent) BeginEpoch() { s.Phase(contract.PhaseTraining) }

func (s silent) Step(*state.State) {
	if s.progress == nil || s.progress.Snapshot().FirstStepTime != nil {
		return
	}
	s.progress.Update(func(p *contract.Progress) { p.FirstStepTime = new(time.Now()) })
}

func (silent) Open(context.Context, store.Store, int32) error  { return nil }
func (silent) Close(context.Context, error)                    {}
func (silent) Committed(contract.Checkpoint)                   {}
func (silent) Begin(*state.State, step.Inputs)                 {}
func (silent) NeedsNumbers() bool                              { return false }
func (silent) Tested(*eval.Evaluation)                         {}
func (silent) Epoch(*state.State) error                        { return nil }
func (silent) EpochSeconds() float64                           { return 0 }
func (silent) EndEarly(context.Context, *state.State, error)   {}
func (silent) SaveMetrics(context.Context, *state.State) error { return nil }
func (silent) SaveReport(context.Context, *state.State) error  { return nil }
func (silent) Artifacts() contract.Artifacts                   { return contract.Artifacts{} }

// Trained is of what the ranks have in common: whether to stop early, and which epoch was the best, follow from it.
func (silent) Trained(st *state.State) (checkpoint.EpochMetrics, error) {
	return checkpoint.EpochMetrics{Epoch: st.Epoch + 1, Step: st.Step, TrainLoss: st.MeanLoss()}, nil
}

// unsaved is the saver of the processes above rank 0, which saves for all.
type unsaved struct{}

func (unsaved) Step(context.Context, checkpoint.Take) error          { return nil }
func (unsaved) Save(context.Context, checkpoint.Take, bool) error    { return nil }
func (unsaved) SaveNow(context.Context, checkpoint.Take, bool) error { return nil }
func (unsaved) Resumed(checkpoint.Meta)                              {}
func (unsaved) Has(checkpoint.Meta) bool                             { return true }
func (unsaved) Flush(context.Context) error                          { return nil }
