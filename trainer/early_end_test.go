package trainer

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

func readReport(t *testing.T, dir string) (r report.Report) {
	t.Helper()
	if err := json.Unmarshal(read(t, dir, contract.ReportJSONKey), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// awaitReport waits until there is one.
func awaitReport(t *testing.T, dir string) report.Report {
	t.Helper()
	for range 100 {
		if _, err := os.Stat(path(dir, contract.ReportJSONKey)); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return readReport(t, dir)
}

// TestReportOfARunThatEndsEarly, because it diverged or was stopped, says so and has the epochs that were done.
func TestReportOfARunThatEndsEarly(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *spec)
		stopAt int64
		code   contract.ExitCode
		want   string
	}{
		"diverged": {func(s *spec) {
			s.Training.Schedule = v1.ScheduleSpec{Type: v1.Step, Milestones: []int32{1}, Gamma: new(1e35)}
		}, 0, contract.ExitDiverged, "the training diverged"},
		"stopped": {func(*spec) {}, 12, contract.ExitStopped, "stopped after step 12 of 16"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := runJob(ctx, t, testJob(dir, test.change), Options{onStep: func(step int64) {
				if step == test.stopAt {
					cancel()
				}
			}})
			if exit.Code(err) != test.code {
				t.Fatalf("exit code %d: %v", exit.Code(err), err)
			}
			r := readReport(t, dir)
			if r.Training.State != report.StateStopped || !strings.Contains(r.Training.Error, test.want) || len(r.History) != 1 || r.Evaluation == nil {
				t.Errorf("%+v, %d epochs", r.Training, len(r.History))
			}
			if page := string(read(t, dir, contract.ReportKey)); !strings.Contains(page, "It ended early: ") {
				t.Error("the page does not say that the run ended early")
			}
		})
	}
}

// TestReportWhileTraining: it is there after the first epoch.
func TestReportWhileTraining(t *testing.T) {
	dir := t.TempDir()
	job := testJob(dir)
	var under report.Report
	_, err := runJob(t.Context(), t, job, Options{onStep: func(step int64) {
		if step == 16 { // of 16: the report of the first epoch is being written in the background
			under = awaitReport(t, dir)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if under.Training.State != report.StateTraining || len(under.History) != 1 {
		t.Errorf("%+v", under.Training)
	}
	if done := readReport(t, dir); done.Training.State != report.StateDone || len(done.History) != 2 {
		t.Errorf("%+v", done.Training)
	}
}

// TestValidationLossThatIsNotFinite ends the run, also where the test loss is finite: the logits of two classes are so far apart that a
// mistake costs more than float32 can say.
func TestValidationLossThatIsNotFinite(t *testing.T) {
	r := buildRun(t, testJob(t.TempDir(), func(s *spec) { s.Dataset.ValidationFraction = 0.25 }))
	state, err := r.state.Net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	bias := state["fc.bias"]
	bias.Data = slices.Clone(bias.Data)
	copy(bias.Data, littleEndian(3e38))
	copy(bias.Data[4:], littleEndian(-3e38))
	state["fc.bias"] = bias
	if err := r.state.Net.LoadStateDict(state); err != nil {
		t.Fatal(err)
	}
	for i := range r.data.Test.Labels {
		r.data.Test.Labels[i] = 0
	}
	for i := range r.data.Validation.Labels {
		r.data.Validation.Labels[i] = 1
	}
	err = r.test(t.Context(), &checkpoint.EpochMetrics{})
	if exit.Code(err) != contract.ExitDiverged || !strings.Contains(err.Error(), "the validation loss is +Inf at step 0") {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
}

func littleEndian(x float32) []byte {
	bits := math.Float32bits(x)
	return []byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)}
}

// TestShortRunWithAverage: the average of 16 steps is a network that was trained, not the initial one.
func TestShortRunWithAverage(t *testing.T) {
	var losses []float64
	for _, ema := range []*v1.EMASpec{nil, {Decay: new(0.999)}} {
		dir := t.TempDir()
		if _, err := runJob(t.Context(), t, testJob(dir, func(s *spec) {
			s.Training.EMA, s.Training.Epochs = ema, 4
			s.Dataset.MaxTrainImages = new(int32(256))
		}), Options{}); err != nil {
			t.Fatal(err)
		}
		lines := metricsLines(t, read(t, dir, contract.MetricsKey(1)))
		losses = append(losses, *lines[len(lines)-1].TestLoss)
	}
	if !(losses[1] < 1.1*losses[0]+0.1) {
		t.Errorf("test loss %.3f with an average, %.3f without", losses[1], losses[0])
	}
}
