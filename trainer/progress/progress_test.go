package progress

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

func full() contract.Progress {
	at := time.Unix(1700000000, 0).UTC()
	loss, accuracy := 0.5, 0.9
	return contract.Progress{
		Attempt: 2, Phase: contract.PhaseTraining, Epoch: 3, Epochs: 20, Step: 1170, Steps: 7800,
		Loss: &loss, Accuracy: &accuracy, BestAccuracy: &accuracy, Int8Accuracy: &accuracy, LR: 0.01, ImagesPerSecond: 200, ETASeconds: 60,
		StartTime: at, FirstStepTime: &at, Checkpoint: &contract.Checkpoint{Name: "c", URI: "s3://b/c", Time: at},
	}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func TestProgressIsServedAsJSON(t *testing.T) {
	_, body := get(t, NewTracker(full()).Handler(), contract.ProgressPath)
	var got contract.Progress
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Errorf("served record (-want +got):\n%s", diff)
	}
}

func TestNumbersThatAreNotFiniteAreLeftOut(t *testing.T) {
	nan := math.NaN()
	tracker := NewTracker(contract.Progress{LR: math.Inf(1), Loss: &nan})
	if code, body := get(t, tracker.Handler(), contract.ProgressPath); code != 200 || strings.Contains(body, "loss") {
		t.Errorf("got %d %s", code, body)
	}
	if got := tracker.Snapshot(); got.LR != 0 || got.Loss != nil {
		t.Errorf("got %+v", got)
	}
}

func TestHistoryIsServedAsJSON(t *testing.T) {
	tracker := NewTracker(contract.Progress{UID: "u", Attempt: 2})
	h := tracker.Handler()
	if _, body := get(t, h, contract.HistoryPath); body != `{"uid":"u","attempt":2,"steps":[],"epochs":[]}`+"\n" {
		t.Errorf("before the first step: %s", body)
	}
	steps, epochs := []contract.StepMetrics{{Step: 1, Steps: 1, Loss: 2}}, []contract.EpochMetrics{{Epoch: 1}}
	tracker.SetHistory(steps, epochs)
	var got contract.History
	_, body := get(t, h, contract.HistoryPath)
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contract.History{UID: "u", Attempt: 2, Steps: steps, Epochs: epochs}, got); diff != "" {
		t.Errorf("served history (-want +got):\n%s", diff)
	}
}

func TestReadyFromTheFirstStepOn(t *testing.T) {
	tracker := NewTracker(contract.Progress{})
	h := tracker.Handler()
	if code, _ := get(t, h, contract.ReadyPath); code != http.StatusServiceUnavailable {
		t.Errorf("before the first step: %d", code)
	}
	if code, _ := get(t, h, contract.HealthPath); code != http.StatusOK {
		t.Errorf("health: %d", code)
	}
	tracker.Update(func(p *contract.Progress) { *p = full() })
	if code, _ := get(t, h, contract.ReadyPath); code != http.StatusOK {
		t.Errorf("after the first step: %d", code)
	}
}

func TestMetrics(t *testing.T) {
	c := collector{NewTracker(full())}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	if n := testutil.CollectAndCount(c); n != len(metrics)+1 {
		t.Errorf("%d metrics of a full record, want %d", n, len(metrics)+1)
	}
	_, body := get(t, c.tracker.Handler(), contract.MetricsPath)
	for _, want := range []string{
		"resnet_trainer_steps_total 1170\n", "resnet_trainer_accuracy_ratio 0.9\n",
		`resnet_trainer_phase{phase="Training"} 1`, "process_resident_memory_bytes",
		"resnet_trainer_checkpoint_time_seconds 1.7e+09\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}

// What nobody knows has no series: a zero would be taken for a number.
func TestMetricsOfWhatIsKnown(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for name, c := range map[string]struct {
		progress contract.Progress
		want     []string
	}{
		"nothing is known": {contract.Progress{Phase: contract.PhaseLoading}, []string{"phase"}},
		"the data is read": {contract.Progress{Phase: contract.PhaseLoading, Attempt: 2, StartTime: at},
			[]string{"attempt", "phase", "start_time_seconds"}},
		"a rank above 0 trains": {contract.Progress{Phase: contract.PhaseTraining, Attempt: 2, StartTime: at, FirstStepTime: &at},
			[]string{"attempt", "first_step_time_seconds", "phase", "start_time_seconds"}},
		"the first step is under way": {contract.Progress{Phase: contract.PhaseTraining, Attempt: 1, StartTime: at, Epochs: 2, Steps: 8},
			[]string{"attempt", "epoch", "phase", "planned_epochs", "planned_steps", "start_time_seconds", "steps_total"}},
	} {
		_, body := get(t, NewTracker(c.progress).Handler(), contract.MetricsPath)
		var got []string
		for _, match := range regexp.MustCompile(`(?m)^resnet_trainer_(\w+)`).FindAllStringSubmatch(body, -1) {
			got = append(got, match[1])
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
