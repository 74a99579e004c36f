package trainer

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

// TestReportCoversAllAttempts stops a job in its second epoch and lets another attempt finish it.
func TestReportCoversAllAttempts(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := runJob(ctx, t, testJob(dir), Options{onStep: func(step int64) {
		if step == 11 {
			cancel()
		}
	}})
	if exit.Code(err) != contract.ExitStopped {
		t.Fatal(err)
	}
	if rows := table(t, dir, 1); len(rows) != 2 {
		t.Errorf("metrics of the first attempt: %v", rows)
	}
	tracker := progress.NewTracker(contract.Progress{})
	if _, err := runJob(t.Context(), t, testJob(dir), Options{Progress: tracker}); err != nil {
		t.Fatal(err)
	}
	if rows := table(t, dir, 2); len(rows) != 3 || rows[1][0] != "1" || rows[2][0] != "2" {
		t.Errorf("metrics of the second attempt: %v", rows)
	}

	var rep report.Report
	if err := json.Unmarshal(read(t, dir, contract.ReportJSONKey), &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.History) != 2 || rep.Training.Attempts != 2 || rep.Training.Steps != 16 || rep.Training.Seconds <= 0 {
		t.Errorf("training: %+v", rep.Training)
	}
	if rep.Data.Train != 64 || rep.Data.Test != 20 || len(rep.Data.Classes) != 10 || rep.Model.Parameters == 0 || rep.Versions.Libtorch == "" {
		t.Errorf("report: %+v %+v %+v", rep.Data, rep.Model, rep.Versions)
	}
	if page := string(read(t, dir, contract.ReportKey)); !strings.Contains(page, "2 epochs") || strings.Count(page, "<svg") < 5 || !strings.Contains(page, `popovertarget="cell-`) {
		t.Error("the page lacks epochs, curves or images")
	}
	checkPictures(t, dir, "loss.png", "accuracy.svg")
	for attempt, want := range map[string][]string{"a1": {"step/loss", "loss/train"}, "a2": {"step/lr", "accuracy/test"}} {
		files, _ := filepath.Glob(path(dir, "metrics/"+attempt+"/events.out.tfevents.*"))
		if len(files) != 1 {
			t.Fatalf("event files of %s: %v", attempt, files)
		}
		events, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range want {
			if !bytes.Contains(events, []byte(tag)) {
				t.Errorf("%s: no %s", attempt, tag)
			}
		}
	}
	checkCurve(t, read(t, dir, contract.StepsKey(2)), tracker.History())
	last := rep.History[1]
	if e := rep.Evaluation; e == nil || e.Images != 20 || e.Accuracy != *last.Accuracy || len(e.PerClass) != 10 {
		t.Errorf("evaluation %+v, the last epoch's accuracy is %g", e, *last.Accuracy)
	}
	checkPictures(t, dir, "confusion.png", "per-class.svg", rep.Images.Sheet)
	checkImages(t, rep)
}

// checkImages: what single images were taken for is what was counted.
func checkImages(t *testing.T, rep report.Report) {
	t.Helper()
	var shown, tested int64
	for _, c := range rep.Images.Cells {
		shown += int64(len(c.Examples)) // of 20 images there is room for all
		if n := rep.Evaluation.Confusion[c.True][c.Predicted]; n != int64(len(c.Examples)) {
			t.Errorf("%d images of class %d taken for %d, counted %d", len(c.Examples), c.True, c.Predicted, n)
		}
		for _, e := range c.Examples {
			if e.Confidence < 1./10 || e.Confidence > 1 {
				t.Errorf("the largest of ten probabilities is %g", e.Confidence)
			}
		}
	}
	for _, class := range rep.Evaluation.PerClass {
		tested += class.Images
	}
	if shown != tested || len(rep.Images.Augmented) == 0 {
		t.Errorf("%d of %d images, %d augmented ones", shown, tested, len(rep.Images.Augmented))
	}
}

// checkCurve: every step of both attempts has its record, in the bucket as in what was served last.
func checkCurve(t *testing.T, lines []byte, served contract.History) {
	t.Helper()
	var steps []contract.StepMetrics
	for line := range bytes.Lines(lines) {
		var p contract.StepMetrics
		if err := json.Unmarshal(line, &p); err != nil {
			t.Fatal(err)
		}
		if p.Step != int64(len(steps))+1 || p.Steps != 1 || p.Loss <= 0 || p.GradNorm <= 0 || p.LR <= 0 || p.ImagesPerSecond <= 0 {
			t.Errorf("record %d: %+v", len(steps), p)
		}
		steps = append(steps, p)
	}
	if len(steps) != 16 {
		t.Errorf("%d records of 16 steps", len(steps))
	}
	if diff := cmp.Diff(steps, served.Steps); diff != "" || len(served.Epochs) != 2 || served.Attempt != 2 {
		t.Errorf("served %d epochs of attempt %d, steps (-saved +served):\n%s", len(served.Epochs), served.Attempt, diff)
	}
}

func checkPictures(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if len(read(t, dir, contract.ReportPrefix+"/"+name)) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
}

// table reads the CSV of an attempt.
func table(t *testing.T, dir string, attempt int32) [][]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(read(t, dir, contract.MetricsCSVKey(attempt)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestUnfinishedResultsAreWrittenAgain loses the results of a job behind its last checkpoint, as a crash would.
func TestUnfinishedResultsAreWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if _, err := runJob(t.Context(), t, testJob(dir), Options{}); err != nil {
			t.Fatal(err)
		}
		read(t, dir, contract.ReportKey)
		read(t, dir, contract.ModelKey)
		for _, folder := range []string{"report", "model", "metrics"} {
			if err := os.RemoveAll(path(dir, folder)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestUnwritableResultsFailTheRun puts a file where the folder of the report should be.
func TestUnwritableResultsFailTheRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(path(dir, ""), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path(dir, contract.ReportPrefix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := runJob(t.Context(), t, testJob(dir), Options{})
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), contract.ReportPrefix) {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
}
