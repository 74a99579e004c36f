package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type event struct {
	Wall    float64            `json:"wall"`
	Step    int64              `json:"step"`
	Version string             `json:"version"`
	Values  map[string]float64 `json:"values"`
}

// readEvents reads an event file with code that shares nothing with ours.
func readEvents(t *testing.T, data []byte) (events []event) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", filepath.Join("testdata", "read_events.py"), path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("apt-get install python3-protobuf: %v\n%s", err, &stderr)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var e event
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

func TestEventsAreReadByOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Python")
	}
	at := time.Unix(1700000000, 250e6)
	r := testReport(3)
	e := NewEvents(at)
	e.Scalar("step/loss", 1<<40, at.Add(time.Second), 2.5)
	e.Scalar("step/loss", 2, at, math.NaN())
	e.History(r.History, at)
	events := readEvents(t, e.Bytes())

	want := []event{
		{Wall: 1700000000.25, Version: "brain.Event:2", Values: map[string]float64{}},
		{Wall: 1700000001.25, Step: 1 << 40, Values: map[string]float64{"step/loss": 2.5}},
	}
	if diff := cmp.Diff(want, events[:2]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := map[string]float64{} // of the second epoch
	for _, e := range events[2:] {
		if e.Step == 2 {
			if e.Wall != 1700000000.25-145.25 {
				t.Errorf("wall time of the second epoch: %f", e.Wall)
			}
			for tag, v := range e.Values {
				got[tag] = v
			}
		}
	}
	m := r.History[1]
	epoch := map[string]float64{
		"loss/train": m.TrainLoss, "loss/test": m.TestLoss, "loss/validation": *m.ValidationLoss,
		"accuracy/test": m.Accuracy, "accuracy/test_top5": *m.Top5Accuracy, "accuracy/validation": *m.ValidationAccuracy,
		"optimizer/lr": m.LR, "optimizer/momentum": m.Momentum, "optimizer/grad_norm": m.GradNorm,
		"speed/images_per_second": m.ImagesPerSecond, "speed/data_wait": m.DataWait, "speed/epoch_seconds": m.Seconds,
		"speed/memory_bytes": float64(m.MemoryBytes),
	}
	if diff := cmp.Diff(epoch, got, cmpopts.EquateApprox(1e-6, 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
