package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// answered is a running job whose first attempt gave an answer to the question for its progress.
func answered(answer string) (Observation, error) {
	job := Running(1)
	job.CreationTimestamp = Earlier
	o := observed(job, Child(1), Pod(corev1.PodRunning, ReadyPod))
	var err error
	o.Progress, err = ParseProgress(strings.NewReader(answer), o.Run())
	return o, err
}

func TestLiesAreLeftOut(t *testing.T) {
	const good = `{"attempt": 1, "phase": "Training", "epoch": 3, "epochs": 20, "step": 9`
	for name, c := range map[string]struct {
		answer  string
		want    *v1.ProgressStatus
		display *v1.DisplayStatus
	}{
		"the truth": {
			good + `, "steps": 60, "loss": 0.512345, "accuracy": 0.91423, "bestAccuracy": 1, "imagesPerSecond": 200.4, ` +
				`"etaSeconds": 61.9}`,
			&v1.ProgressStatus{Epoch: 3, Epochs: 20, Step: 9, Steps: 60, Loss: ptr.To(0.5123), Accuracy: ptr.To(0.9142),
				BestAccuracy: ptr.To(1.0), ImagesPerSecond: 200, ETASeconds: 61},
			&v1.DisplayStatus{Epoch: "3/20", Loss: "0.5123", Accuracy: "91.42%", BestAccuracy: "100.00%", ETA: "1m1s"},
		},
		"zeros": {
			good + `, "loss": 0, "accuracy": 0, "bestAccuracy": 0, "imagesPerSecond": 0, "etaSeconds": 0}`,
			&v1.ProgressStatus{Epoch: 3, Epochs: 20, Step: 9, Loss: ptr.To(0.0), Accuracy: ptr.To(0.0),
				BestAccuracy: ptr.To(0.0)},
			&v1.DisplayStatus{Epoch: "3/20", Loss: "0.0000", Accuracy: "0.00%", BestAccuracy: "0.00%"},
		},
		"huge numbers": {
			good + `, "loss": 1e308, "accuracy": 1e308, "bestAccuracy": 2, "imagesPerSecond": 1e308, "etaSeconds": 1e308}`,
			&v1.ProgressStatus{Epoch: 3, Epochs: 20, Step: 9}, &v1.DisplayStatus{Epoch: "3/20"},
		},
		"a large loss and a slow pod": {
			good + `, "loss": 123456789, "imagesPerSecond": 0.456}`,
			&v1.ProgressStatus{Epoch: 3, Epochs: 20, Step: 9, Loss: ptr.To(1.235e8), ImagesPerSecond: 0.46},
			&v1.DisplayStatus{Epoch: "3/20", Loss: "1.235e+08"},
		},
		"negative numbers": {
			good + `, "loss": -1, "accuracy": -0.1, "bestAccuracy": -1, "imagesPerSecond": -5, "etaSeconds": -3}`,
			&v1.ProgressStatus{Epoch: 3, Epochs: 20, Step: 9}, &v1.DisplayStatus{Epoch: "3/20"},
		},
		"huge steps":           {answer: good + `, "steps": 9223372036854775807}`},
		"epoch beyond the end": {answer: `{"attempt": 1, "phase": "Training", "epoch": 21, "epochs": 20}`},
		"negative epoch":       {answer: `{"attempt": 1, "phase": "Training", "epoch": -1, "epochs": 20}`},
		"other epochs":         {answer: `{"attempt": 1, "phase": "Training", "epoch": 3, "epochs": 1000000}`},
		"negative step":        {answer: `{"attempt": 1, "phase": "Training", "epoch": 3, "epochs": 20, "step": -1}`},
		"huge step": {
			answer: `{"attempt": 1, "phase": "Training", "epoch": 3, "epochs": 20, "step": 9223372036854775807}`},
		"still loading": {answer: `{"attempt": 1, "phase": "Loading", "epoch": 19, "epochs": 20}`},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := answered(c.answer)
			if (err == nil) != (o.Progress != nil) || c.want != nil && err != nil {
				t.Fatalf("%+v, and %v", o.Progress, err)
			}
			got := Decide(o, Now.Time).Status
			if diff := cmp.Diff(c.want, got.Progress) + cmp.Diff(c.display, got.Display); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":               "",
		"HTML":                  "<html>",
		"cut off":               `{"attempt": 1, "phase": "Trai`,
		"another attempt's":     `{"attempt": 2, "phase": "Training", "epoch": 3, "epochs": 20}`,
		"another job's":         `{"uid": "u-2", "attempt": 1, "phase": "Training", "epoch": 3, "epochs": 20}`,
		"nobody's":              `{"phase": "Training"}`,
		"NaN":                   `{"attempt": 1, "loss": NaN}`,
		"a number out of range": `{"attempt": 1, "loss": 1e999}`,
		"attempt out of range":  `{"attempt": 99999999999}`,
		"a list":                `[1]`,
		"null":                  `null`,
		"a time that is none":   `{"attempt": 1, "firstStepTime": "yesterday"}`,
		"too long":              `{"attempt": 1, "phase": "` + strings.Repeat("x", maxProgress) + `"}`,
		"too deep":              strings.Repeat("[", 30_000),
	} {
		t.Run(name, func(t *testing.T) {
			if o, err := answered(answer); err == nil {
				t.Errorf("took %+v for progress", o.Progress)
			}
		})
	}
}

// What is kept of an answer, for the status and for metrics, is small, and holds no number that cannot be.
func TestWhatIsKeptOfAnAnswer(t *testing.T) {
	o, err := answered(strings.ReplaceAll(`{"attempt": 1, "phase": "LONG", "epochs": 20, "loss": -1, "accuracy": 1e300,
		"bestAccuracy": 2, "imagesPerSecond": 1e300, "etaSeconds": -1, "checkpoint": {"name": "LONG"},
		"waiting": {"for": "LONG"}}`, "LONG", strings.Repeat("x", 9000)))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := json.Marshal(o.Progress)
	if err != nil || len(kept) > 1024 {
		t.Errorf("%d bytes are kept: %v", len(kept), err)
	}
	if p := o.Progress; p.Loss != nil || p.Accuracy != nil || p.BestAccuracy != nil || p.ImagesPerSecond != 0 ||
		p.ETASeconds != 0 || p.Checkpoint != nil {
		t.Errorf("kept %s", kept)
	}
	if o, err = answered(`{"attempt": 1, "phase": "Loading", "epoch": 1000000, "step": 1000000}`); err != nil ||
		o.Progress.Epoch != 0 || o.Progress.Step != 0 {
		t.Errorf("kept %+v of a trainer that still loads: %v", o.Progress, err)
	}
}

func TestTimesStayWithinTheLifeOfTheJob(t *testing.T) {
	for given, want := range map[string]time.Time{
		"0001-01-01T00:00:00Z": Earlier.Time,
		"9999-12-31T23:59:59Z": Now.Time,
		"2026-11-24T11:30:00Z": Now.Add(-30 * time.Minute),
	} {
		o, err := answered(`{"attempt": 1, "phase": "Training", "epochs": 20, "firstStepTime": "` + given + `",
			"checkpoint": {"name": "00001-00000009-a1", "uri": "s3://models/team/net/u-1/x", "time": "` + given + `"}}`)
		if err != nil {
			t.Fatal(err)
		}
		got := Decide(o, Now.Time).Status
		if !got.FirstStepTime.Time.Equal(want) || !got.Checkpoint.Time.Time.Equal(want) {
			t.Errorf("%s became %s and %s, want %s", given, got.FirstStepTime, got.Checkpoint.Time, want)
		}
	}
}

func TestPlacesMustBeInTheFolderOfTheJob(t *testing.T) {
	const folder = "s3://models/team/net/u-1"
	for name, c := range map[string]struct {
		name, uri string
		ok        bool
	}{
		"right":              {"00012-00004800-a2", folder + "/checkpoints/00012-00004800-a2", true},
		"the folder":         {"00012-00004800-a2", folder + "/", true},
		"the folder's name":  {"00012-00004800-a2", folder, true},
		"another bucket":     {"00012-00004800-a2", "s3://models2/team/net/u-1/x", false},
		"another job":        {"00012-00004800-a2", "s3://models/team/net/u-12/x", false},
		"another team":       {"00012-00004800-a2", "s3://models/other/net/u-1/x", false},
		"the bucket":         {"00012-00004800-a2", "s3://models/", false},
		"out of the folder":  {"00012-00004800-a2", folder + "/../../../other", false},
		"a web page":         {"00012-00004800-a2", "https://example.com/", false},
		"nothing":            {"", "", false},
		"another name":       {"<script>", folder + "/x", false},
		"too long":           {"00012-00004800-a2", folder + "/" + strings.Repeat("x", 3000), false},
		"control sequence":   {"00012-00004800-a2", folder + "/\x1b[2J", false},
		"in the other order": {"00012-00004800-a2", folder + "/\u202ex", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := observed(Running(1), Child(1), Pod(corev1.PodRunning, ReadyPod))
			o.Progress = &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epochs: 20,
				Checkpoint: &contract.Checkpoint{Name: c.name, URI: c.uri}}
			if got := Decide(o, Now.Time).Status.Checkpoint; (got != nil) != c.ok {
				t.Errorf("checkpoint %+v, want one: %v", got, c.ok)
			}
			if got := artifactsOf(contract.Artifacts{Root: c.uri, Model: c.uri}, o.Job); c.name == "00012-00004800-a2" &&
				(got != nil) != c.ok {
				t.Errorf("artifacts %+v, want some: %v", got, c.ok)
			}
		})
	}
}

// The folder is written as the trainer writes it, however the job writes its storage.
func TestTheFolderOfTheJob(t *testing.T) {
	for storage, folder := range map[string]string{
		"s3://models":         "s3://models/team/net/u-1/",
		"s3://models/":        "s3://models/team/net/u-1/",
		"s3://models/vision/": "s3://models/vision/team/net/u-1/",
		"file:///models":      "file:///models/team/net/u-1",
		"file:///models//a/":  "file:///models/a/team/net/u-1",
	} {
		job := NewJob()
		job.Spec.Storage.URI = storage
		if !ofJob(folder, job) || !ofJob(strings.TrimSuffix(folder, "/")+"/model/model.safetensors", job) {
			t.Errorf("storage %s: %s is not taken for its folder", storage, folder)
		}
	}
}

// TestAnyAnswer: whatever a pod answers, the status stays small, valid, and the same when it is asked again.
func TestAnyAnswer(t *testing.T) {
	values := rapid.SampledFrom(
		[]string{"0", "1", "2", "20", "-1", "0.5", "1e308", "-1e308", "1e-308", "1e999", "2147483647", "9223372036854775807",
			"NaN", "null", "true", `""`, `"x"`,
			`"Training"`, `"Done"`, `"\ud800"`, `"0001-01-01T00:00:00Z"`, `"2026-11-24T11:30:00Z"`,
			`"9999-12-31T23:59:59-23:59"`,
			`"s3://models/team/net/u-1/\u0000"`, `"s3://models/team/net/u-1"`, `"00001-00000009-a1"`, "{}", "[]",
			`{"name": "00001-00000009-a1", "uri": "s3://models/team/net/u-1/x", "time": "9999-12-31T23:59:59Z"}`,
			`{"name": "00001-00000009-a1", "uri": "` + "s3://models/team/net/u-1/" + strings.Repeat("y", 5000) + `"}`})
	fields := rapid.SampledFrom(
		[]string{"attempt", "phase", "epoch", "epochs", "step", "steps", "loss", "accuracy", "bestAccuracy", "lr",
			"imagesPerSecond", "etaSeconds", "startTime", "firstStepTime", "checkpoint", "other"})
	rapid.Check(t, func(t *rapid.T) {
		answer := `{"attempt": 1, "phase": "Training", "epochs": 20`
		for range rapid.IntRange(0, 8).Draw(t, "fields") {
			answer += `, "` + fields.Draw(t, "field") + `": ` + values.Draw(t, "value")
		}
		answer += "}"
		if rapid.IntRange(0, 9).Draw(t, "break") == 0 {
			i := rapid.IntRange(0, len(answer)).Draw(t, "at")
			answer = answer[:i] + rapid.String().Draw(t, "junk") + answer[i:]
		}
		if o, err := answered(answer); err == nil {
			checkStatus(t, o)
		}
		o, _ := answered("") // the same as last words, and as a log
		o.Pods = []corev1.Pod{Pod(corev1.PodFailed,
			Killed("Error", 1, `{"exitCode": 1, "message": "m", "progress": `+answer+`, "artifacts": {"root": `+values.Draw(t,
				"root")+`}}`))}
		checkStatus(t, o)
		o.Pods = []corev1.Pod{Pod(corev1.PodFailed, Killed("Error", 1, answer))}
		checkStatus(t, o)
	})
}

func checkStatus(t *rapid.T, o Observation) {
	t.Helper()
	first := Decide(o, Now.Time)
	data, err := json.Marshal(first.Status)
	if err != nil {
		t.Fatalf("the status cannot be written: %v", err)
	}
	if len(data) > 8<<10 {
		t.Fatalf("the status has %d bytes", len(data))
	}
	for _, e := range first.Events {
		if len(e.Message) > maxMessage {
			t.Fatalf("an event has %d bytes", len(e.Message))
		}
	}
	var stored v1.ResNetTrainingJobStatus
	if err := json.Unmarshal(data, &stored); err != nil {
		t.Fatal(err)
	}
	if first.Status.State != v1.StateRunning {
		return
	}
	job := o.Job.DeepCopy()
	job.Status = stored
	o.Job, o.LossDue = job, true
	if second := Decide(o, Now.Time); second.ProgressChanged || !sameButProgress(stored, second.Status) {
		t.Fatalf("the status flaps:\n%s", cmp.Diff(stored, second.Status))
	}
}
