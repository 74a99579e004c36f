package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/internal/readers"
)

// tensorboardRun is what TensorBoard knows of a run: the wall time of its first event, and curves of points [step, wall time, value].
type tensorboardRun struct {
	First  float64                 `json:"first"`
	Curves map[string][][3]float64 `json:"curves"`
}

// TestTensorBoard lets TensorBoard find and read the event files of a job of two attempts.
func TestTensorBoard(t *testing.T) {
	at := time.Unix(1700000000, 250e6)
	const wall = 1700000000.25
	r := testReport(3)
	first := NewEvents(at)
	first.Scalar("step/loss", 1<<40, at.Add(time.Second), 2.5)
	first.Scalar("step/lr", 2, at, math.NaN())
	second := NewEvents(at.Add(time.Hour))
	second.History(r.History, at)
	dir := t.TempDir()
	for i, events := range []*Events{first, second} {
		file := filepath.Join(dir, contract.EventsKey(int32(i+1), at))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, events.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got map[string]tensorboardRun
	out := readers.Run(t, filepath.Join("testdata", "read_events.py"), filepath.Join(dir, "metrics"))
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}

	curves := map[string][][3]float64{}
	for i, m := range r.History {
		for tag, value := range map[string]float64{
			"loss/train": m.TrainLoss, "loss/test": *m.TestLoss, "loss/validation": *m.ValidationLoss,
			"accuracy/test": *m.Accuracy, "accuracy/test_top5": *m.Top5Accuracy, "accuracy/validation": *m.ValidationAccuracy,
			"optimizer/lr": m.LR, "optimizer/momentum": m.Momentum, "optimizer/grad_norm": m.GradNorm,
			"speed/images_per_second": m.ImagesPerSecond, "speed/data_wait": m.DataWait, "speed/epoch_seconds": m.Seconds,
			"speed/memory_bytes": float64(m.MemoryBytes),
		} {
			curves[tag] = append(curves[tag], [3]float64{float64(i + 1), wall - 145.25*float64(len(r.History)-1-i), float64(float32(value))})
		}
	}
	want := map[string]tensorboardRun{
		"a1": {wall, map[string][][3]float64{"step/loss": {{1 << 40, wall + 1, 2.5}}}},
		"a2": {wall + 3600, curves},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
