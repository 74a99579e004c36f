package trainer

import (
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
)

// A rank above 0 tells what it does, and when it began; how far the training is tells rank 0.
func TestARankAboveZeroTellsOfItself(t *testing.T) {
	silent{}.BeginEpoch() // nobody can ask
	silent{}.Step(nil)

	tracker := progress.NewTracker(contract.Progress{Phase: contract.PhaseLoading})
	s := silent{tracker}
	want := func(phase contract.Phase, began bool) {
		t.Helper()
		p := tracker.Snapshot()
		if p.Phase != phase || (p.FirstStepTime != nil) != began || p.Steps != 0 {
			t.Errorf("%+v; want %s, begun: %v", p, phase, began)
		}
	}
	s.BeginEpoch()
	want(contract.PhaseTraining, false)
	s.Step(nil)
	want(contract.PhaseTraining, true)
	first := *tracker.Snapshot().FirstStepTime
	s.Phase(contract.PhaseEvaluating)
	want(contract.PhaseEvaluating, true)
	time.Sleep(time.Millisecond)
	s.Step(nil)
	if again := *tracker.Snapshot().FirstStepTime; again != first {
		t.Errorf("the first step was at %v, and later at %v", first, again)
	}
}
