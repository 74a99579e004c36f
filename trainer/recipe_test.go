package trainer

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// steps makes the next n steps of a run.
func steps(t *testing.T, r *run, n int) {
	t.Helper()
	for batch := range r.step.Batches(t.Context(), r.state.Epoch, r.state.StepInEpoch) {
		if n--; n < 0 {
			break
		}
		if err := r.step.Do(batch, r.plan.At(r.state.Step)); err != nil {
			t.Fatal(err)
		}
		r.state.Advance()
	}
}

func scaled(t *testing.T, job *v1.ResNetTrainingJob) *run {
	t.Helper()
	r := buildRun(t, job)
	state, err := r.state.Net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	w := state["layer4.1.bn2.weight"] // large activations, and with them large gradients of fc
	w.Data = bytes.Repeat([]byte{0, 0, 0, 0x43}, len(w.Data)/4)
	state["layer4.1.bn2.weight"] = w
	if err := r.state.Net.LoadStateDict(state); err != nil {
		t.Fatal(err)
	}
	if r.state.Scaler, err = libtorch.NewGradScaler(libtorch.CPU); err != nil {
		t.Fatal(err)
	}
	r.makeSteps(t)
	return r
}

// TestLossScalerResumes runs with the loss scaler as FP16 has it, in FP32, where its scale overflows at first: the steps
// are skipped, do not count, and a run that was resumed in between goes on with the same bits.
func TestLossScalerResumes(t *testing.T) {
	overflow := func(r *run) {
		if err := libtorch.SetBytes(r.state.Scaler.Scale, []byte{0, 0, 0, 0x7f}); err != nil { // 2¹²⁷
			t.Fatal(err)
		}
	}
	job := testJob(t.TempDir(), func(s *spec) { s.Dataset.MaxTrainImages = new(int32(8 * 16)) })
	whole, first, second := scaled(t, job), scaled(t, job), scaled(t, job)
	overflow(whole)
	overflow(first)
	steps(t, whole, 15)
	steps(t, first, 6)
	snap, err := first.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.restore(&snap); err != nil {
		t.Fatal(err)
	}
	steps(t, second, 9)
	want, err := whole.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	got, err := second.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	made, err := whole.state.Optimizers[0].Steps()
	if err != nil || made == 15 || made == 0 || int64(whole.state.Counted) != made {
		t.Errorf("%d steps made, %d counted, of 15: %v", made, whole.state.Counted, err)
	}
	sameState(t, got.Model, want.Model)
	sameState(t, got.State, want.State)
	if scale := want.State["scaler.scale"]; bytes.Equal(scale.Data, []byte{0, 0, 0, 0x7f}) {
		t.Error("the scale did not fall")
	}
}

func sameState(t *testing.T, got, want checkpoint.StateDict) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
	for name, w := range want {
		if !bytes.Equal(got[name].Data, w.Data) {
			t.Errorf("%s differs", name)
		}
	}
}

// Without any scale that works, the run must end.
func TestLossScaleTooSmall(t *testing.T) {
	r := scaled(t, testJob(t.TempDir()))
	if err := libtorch.SetBytes(r.state.Scaler.Scale, []byte{0, 0, 0, 0x38}); err != nil { // 2⁻¹⁵
		t.Fatal(err)
	}
	var err error
	for batch := range r.step.Batches(t.Context(), 0, 0) {
		err = r.step.Do(batch, r.plan.At(0))
		break
	}
	if err == nil || !strings.Contains(err.Error(), "the loss scale is 3.0517578125e-05") {
		t.Error(err)
	}
}

// TestAnotherNumberOfThreads: a resumed run says that its bits will differ.
func TestAnotherNumberOfThreads(t *testing.T) {
	r := buildRun(t, testJob(t.TempDir()))
	snap, err := r.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	snap.Meta.Threads++
	log := captureLog(r)
	if err := r.restore(&snap); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "another number of threads") || r.state.Threads != libtorch.Threads() {
		t.Errorf("log %q, threads %d", log, r.state.Threads)
	}
}

// TestDivergedLayer: on a CPU the layer is found before the weights are lost.
func TestDivergedLayer(t *testing.T) {
	r := buildRun(t, testJob(t.TempDir()))
	state, err := r.state.Net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	const layer = "layer3.0.conv2"
	w := state[layer+".weight"]
	w.Data = bytes.Repeat([]byte{0xff, 0xff, 0x7f, 0x7f}, len(w.Data)/4) // the largest float32
	state[layer+".weight"] = w
	if err := r.state.Net.LoadStateDict(state); err != nil {
		t.Fatal(err)
	}
	for batch := range r.step.Batches(t.Context(), 0, 0) {
		err = r.step.Do(batch, r.plan.At(0))
		break
	}
	if err == nil || !strings.Contains(err.Error(), "step 1 of 16 (epoch 1), first in "+layer+":") {
		t.Error(err)
	}
	after, err := r.state.Net.StateDict()
	if err != nil || !bytes.Equal(after["fc.weight"].Data, state["fc.weight"].Data) {
		t.Errorf("the weights were updated: %v", err)
	}
}

func TestModelFileDescribesItsInput(t *testing.T) {
	dir := t.TempDir()
	if _, err := runJob(t.Context(), t, testJob(dir), Options{}); err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/model.safetensors"
	if err := os.WriteFile(file, read(t, dir, "model/model.safetensors"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := loadWeights(t.Context(), testJob(dir), Weights{ModelFile: file})
	if err != nil || w.input == nil || w.input.Height != 32 || len(w.input.Classes) != 10 || math.Abs(float64(w.input.Mean[0])-0.5) > 1e-6 {
		t.Errorf("%+v: %v", w, err)
	}
}

// TestEarlyStoppingEndsARun: a run whose validation cannot improve by so much ends as done, and so does one that was
// stopped before and resumed.
func TestEarlyStoppingEndsARun(t *testing.T) {
	dir := t.TempDir()
	job := testJob(dir, func(s *spec) {
		s.Training.Epochs = 6
		s.Dataset.ValidationFraction = 0.25
		s.Training.EarlyStopping = &v1.EarlyStoppingSpec{Patience: 2, MinDelta: 2}
	})
	stopAt(t, job, 9) // 48 of 64 images: 6 steps an epoch
	for attempt := range int32(2) {
		p, err := runJob(t.Context(), t, job, Options{})
		if err != nil || p.Phase != contract.PhaseDone || p.Step != 18 {
			t.Fatalf("%+v: %v", p, err)
		}
		metrics := metricsLines(t, read(t, dir, contract.MetricsKey(attempt+2)))
		last := metrics[len(metrics)-1]
		if len(metrics) != 3 || last.ValidationAccuracy == nil || *last.ValidationLoss <= 0 || *last.ValidationAccuracy > *p.BestAccuracy {
			t.Errorf("%+v", metrics)
		}
		if log := string(read(t, dir, contract.LogKey(attempt+2))); !strings.Contains(log, "stopping early") {
			t.Errorf("log: %s", log)
		}
	}
}
