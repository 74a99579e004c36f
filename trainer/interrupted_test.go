package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/state"
)

// TestBestCheckpointDoesNotDependOnInterruptions: with a checkpoint after every second epoch, one that is written after
// another epoch because the run was told to stop is not the best, however good it is.
func TestBestCheckpointDoesNotDependOnInterruptions(t *testing.T) {
	change := func(s *spec) {
		s.Training.Epochs, s.Checkpoint.EveryEpochs = 5, 2
		s.Export.Weights = v1.WeightsBest
	}
	best := func(dir string) (p struct {
		Epoch    int32
		Accuracy float64
	}) {
		if err := json.Unmarshal(read(t, dir, contract.BestKey), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	whole := t.TempDir()
	if _, err := runJob(t.Context(), t, testJob(whole, change), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, stops := range [][]int32{{1}, {3}, {1, 2, 3, 4}} {
		dir := t.TempDir()
		for _, stop := range stops {
			stopAfter(t, testJob(dir, change), stop)
			if p, err := os.ReadFile(path(dir, contract.BestKey)); err == nil && (bytes.Contains(p, []byte(`"epoch": 1`)) || bytes.Contains(p, []byte(`"epoch": 3`))) {
				t.Errorf("stopped after epoch %d, the best is %s", stop, p)
			}
		}
		if _, err := runJob(t.Context(), t, testJob(dir, change), Options{}); err != nil {
			t.Fatal(err)
		}
		if got, want := best(dir), best(whole); got != want {
			t.Errorf("stopped after %v: the best is %+v, without interruption %+v", stops, got, want)
		}
		if !bytes.Equal(weightsOf(t, read(t, dir, contract.ModelKey)), weightsOf(t, read(t, whole, contract.ModelKey))) {
			t.Errorf("stopped after %v: another model than without interruption", stops)
		}
	}
}

// stopAfter runs a job and stops it between two epochs; at times it is in the first step of the next one by then.
func stopAfter(t *testing.T, job *v1.ResNetTrainingJob, epoch int32) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handler := slog.NewTextHandler(writer(func(line []byte) {
		if bytes.Contains(line, fmt.Appendf(nil, `msg="epoch %d/`, epoch)) {
			cancel()
		}
	}), nil)
	tracker := progress.NewTracker(contract.Progress{})
	_, err := Run(ctx, job, Options{Handler: handler, Progress: tracker})
	if p := tracker.Snapshot(); exit.Code(err) != contract.ExitStopped || p.Step > int64(8*epoch+1) || p.Epoch != epoch {
		t.Fatalf("stopped at step %d with %v", p.Step, err)
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// TestLostBestCheckpoint: the training was not in vain if the best checkpoint cannot be read at the end.
func TestLostBestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	change := func(s *spec) { s.Export.Weights = v1.WeightsBest }
	if _, err := runJob(t.Context(), t, testJob(dir, change), Options{}); err != nil {
		t.Fatal(err)
	}
	var p struct{ Checkpoint string }
	if err := json.Unmarshal(read(t, dir, contract.BestKey), &p); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path(dir, "checkpoints/"+p.Checkpoint+"/model.safetensors"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := runJob(t.Context(), t, testJob(dir, change), Options{}); err != nil {
		t.Fatal(err)
	}
	if log := string(read(t, dir, contract.LogKey(2))); p.Checkpoint != contract.CheckpointName(2, 16, 1) && !strings.Contains(log, "the best checkpoint cannot be read") {
		t.Errorf("log:\n%s", log)
	}
}

// TestPrecisionIsKept: precision Auto chooses once for a job, not anew on each node.
func TestPrecisionIsKept(t *testing.T) {
	other := libtorch.BFloat16
	if libtorch.FastBF16(libtorch.CPU) {
		other = libtorch.Float32
	}
	dir := t.TempDir()
	auto := func(s *spec) { s.Training.Precision = v1.PrecisionAuto }
	stopAt(t, testJob(dir, auto), 8)
	manifest := path(dir, "checkpoints/"+contract.CheckpointName(0, 8, 1)+"/manifest.json")
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := chooseType(auto)
	if err != nil || !bytes.Contains(text, []byte(`"precision": "`+state.PrecisionName(chosen)+`"`)) || !bytes.Contains(text, []byte(`"kernels": "`+state.Kernels(libtorch.CPU)+`"`)) {
		t.Fatalf("%v; manifest:\n%s", err, text)
	}
	for name, test := range map[string]struct {
		recorded string // JSON
		want     libtorch.DType
		warns    string
	}{
		"the same":           {`"precision": "` + state.PrecisionName(chosen) + `"`, chosen, ""},
		"another":            {`"precision": "` + state.PrecisionName(other) + `"`, other, ""},
		"an older version":   {`"precision": ""`, chosen, ""},
		"of another machine": {`"precision": "` + state.PrecisionName(chosen) + `", "kernels": "abacus"`, chosen, "the checkpoint was computed with other kernels"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Replace(text, []byte(`"precision": "`+state.PrecisionName(chosen)+`"`), []byte(test.recorded), 1)
			if strings.Contains(test.recorded, "kernels") {
				changed = bytes.Replace(changed, []byte(`"kernels": "`+state.Kernels(libtorch.CPU)+`"`), []byte(`"x": ""`), 1)
			}
			if err := os.WriteFile(manifest, changed, 0o666); err != nil {
				t.Fatal(err)
			}
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			tracker := progress.NewTracker(contract.Progress{})
			if _, err := Run(t.Context(), testJob(copied, auto), Options{Handler: slog.NewTextHandler(&log, nil), Progress: tracker}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log.String(), "precision="+state.PrecisionName(test.want)) {
				t.Errorf("want %s; log:\n%s", state.PrecisionName(test.want), &log)
			}
			if test.warns != "" && !strings.Contains(log.String(), test.warns) || test.warns == "" && strings.Contains(log.String(), "other kernels") {
				t.Errorf("log:\n%s", &log)
			}
		})
	}
	if got := state.KeepPrecision(libtorch.Float32, v1.PrecisionFP32, &checkpoint.Meta{Precision: "bf16"}); got != libtorch.Float32 {
		t.Errorf("the spec says FP32, chosen is %s", state.PrecisionName(got))
	}
}

func chooseType(change func(*spec)) (libtorch.DType, error) {
	_, t, err := chooseDevice(&testJob("", change).Spec)
	return t, err
}
