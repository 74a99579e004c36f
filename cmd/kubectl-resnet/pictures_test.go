package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

// exampleJobs are one of each kind.
func exampleJobs() []v1.ResNetTrainingJob {
	job := func(name string, state v1.State, age time.Duration, c metav1.Condition) v1.ResNetTrainingJob {
		j := v1.ResNetTrainingJob{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: "u-1", CreationTimestamp: before(age)}}
		j.Spec.Dataset = v1.DatasetSpec{Format: v1.FashionMNIST, URI: "https://user:secret@host/data?signature=secret"}
		j.Spec.Storage.URI = "s3://models"
		j.Spec.Training = v1.TrainingSpec{Epochs: 20, BatchSize: 128, Optimizer: v1.OptimizerSpec{Type: v1.AdamW}}
		j.Spec.Resources = v1.ResourcesSpec{CPU: new(resource.MustParse("2")), Memory: new(resource.MustParse("4Gi"))}
		j.Spec.Retry.MaxFailures = 3
		j.Status.State, j.Status.Attempt = state, 1
		if c.Type != "" {
			j.Status.Conditions = []metav1.Condition{c}
		}
		return j
	}
	running := job("flowers", v1.StateRunning, 90*time.Minute, condition(v1.ConditionProgressing, v1.ReasonTraining, "trains"))
	running.Status.Attempt, running.Status.Disruptions, running.Status.Compute = 2, 1, "2 threads"
	running.Status.Progress = &v1.ProgressStatus{Epoch: 12, Epochs: 20, Step: 5628, Steps: 9380, Loss: new(0.2345),
		Accuracy: new(0.9142), BestAccuracy: new(0.915), ImagesPerSecond: 412, ETASeconds: 3723}
	running.Status.Display = &v1.DisplayStatus{Epoch: "12/20", Loss: "0.2345", Accuracy: "91.42%", BestAccuracy: "91.50%", ETA: "1h2m3s"}
	running.Status.Checkpoint = &v1.CheckpointStatus{Name: "00012-00005628-a2", Epoch: 12, Step: 5628,
		URI: "s3://models/team/flowers/u-1/checkpoints/00012-00005628-a2", Time: before(4 * time.Minute)}
	running.Status.FirstStepTime = new(before(89 * time.Minute))
	failed := job("birds", v1.StateFailed, 26*time.Hour, condition(v1.ConditionFailed, v1.ReasonDiverged,
		"the loss is NaN after step 312 in layer3.0.conv1: lower\nspec.training.optimizer.lr \x1b[31m"))
	return []v1.ResNetTrainingJob{failed,
		job("shoes", v1.StateSucceeded, 50*time.Hour, condition(v1.ConditionComplete, v1.ReasonSucceeded, "the model is saved")), running,
		job("cars", v1.StatePending, 3*time.Minute, condition(v1.ConditionProgressing, v1.ReasonUnschedulable, "no node has nvidia.com/gpu: 1")),
		job("new", "", time.Second, metav1.Condition{})}
}

func TestList(t *testing.T) {
	jobs := exampleJobs()
	sortJobs(jobs)
	var b bytes.Buffer
	for _, o := range []struct{ wide, all bool }{{false, false}, {true, true}} {
		if err := printTable(&b, jobTable(jobs, o.all, now), o.wide, false); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "list.txt", b.String())
}

// A table fits its screen, however many jobs there are.
func TestManyJobs(t *testing.T) {
	var jobs []v1.ResNetTrainingJob
	for i := range 1000 {
		for _, job := range exampleJobs() {
			job.Name = fmt.Sprintf("%s-%d", job.Name, i)
			jobs = append(jobs, job)
		}
	}
	sortJobs(jobs)
	text, err := jobsPicture(jobs, false, 24, now)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text, "\n"); n > 23 {
		t.Errorf("%d lines on 24", n)
	}
	golden(t, "many.txt", text)
	if text, err = jobsPicture(nil, false, 24, now); err != nil || text != "0 jobs\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestDescribe(t *testing.T) {
	jobs := exampleJobs()
	pod := func(attempt int, state corev1.ContainerState) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("flowers-%d-0-abcde", attempt),
			Labels: map[string]string{childjob.LabelAttempt: fmt.Sprint(attempt)}}, Spec: corev1.PodSpec{NodeName: "node-7"},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: childjob.ContainerName, State: state}}}}
	}
	event := func(age time.Duration, kind, reason, message string) corev1.Event {
		return corev1.Event{EventTime: metav1.NewMicroTime(now.Add(-age)), Type: kind, Reason: reason, Message: message}
	}
	var b bytes.Buffer
	for _, s := range []story{
		{job: &jobs[2], now: now, pods: []corev1.Pod{pod(2, isRunning), pod(1, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 75, Message: string(contract.Termination{ExitCode: 75, Message: "stopped after step 900 of 9380 and saved"}.Marshal())}})},
			events: []corev1.Event{event(time.Hour, "Warning", v1.ReasonDisrupted, "attempt 1 was evicted: node-3 is drained"),
				event(59*time.Minute, "Normal", v1.ReasonAttemptCreated, "attempt 2 resumes from 00001-00000900-a1")}},
		{job: &jobs[0], now: now, noEvents: "you may not list events", noPods: "you may not list pods"},
		{job: &jobs[4], now: now},
	} {
		if err := s.print(&b); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n---\n")
	}
	if strings.Contains(b.String(), "secret") || strings.Contains(b.String(), "\x1b") {
		t.Error("it shows a credential, or what a terminal obeys")
	}
	golden(t, "describe.txt", b.String())
}

// exampleHistory is a training of some epochs, half an epoch more in steps.
func exampleHistory(epochs int) *contract.History {
	h := &contract.History{UID: "u-1", Attempt: 2}
	loss := func(step float64) float64 { return 0.2 + 2*math.Exp(-step/300) }
	for step := int64(10); step <= int64(epochs)*100+50; step += 10 {
		h.Steps = append(h.Steps, contract.StepMetrics{Step: step, Steps: 10, Loss: loss(float64(step)), GradNorm: 1,
			LR: 0.01 * math.Sin(math.Pi*float64(step)/1500), ImagesPerSecond: 400})
	}
	for e := 1; e <= epochs; e++ {
		h.Epochs = append(h.Epochs, contract.EpochMetrics{Epoch: int32(e), Step: int64(e) * 100, TrainLoss: loss(float64(e) * 100),
			TestLoss: new(loss(float64(e)*100) + 0.1), Accuracy: new(0.95 - 0.6*math.Exp(-float64(e)/3))})
	}
	return h
}

func TestPicture(t *testing.T) {
	jobs := exampleJobs()
	var b bytes.Buffer
	header(&b, &jobs[2], nil, 80, now)
	curves(&b, exampleHistory(12), 80, 40, false)
	b.WriteString("\n---\n")
	header(&b, &jobs[2], &contract.Progress{Epoch: 0, Epochs: 20, Step: 30, Steps: 9380, LR: 0.004, Loss: new(2.1),
		Waiting: &contract.Waiting{For: "s3://models, which does not answer"}}, 60, now)
	curves(&b, exampleHistory(0), 60, 20, false)
	b.WriteString("\n---\n")
	header(&b, &jobs[0], nil, 80, now)
	curves(&b, &contract.History{}, 80, 40, false)
	golden(t, "picture.txt", b.String())
}

// Curves keep within their width and height on every screen.
func TestCurvesFit(t *testing.T) {
	for _, size := range [][2]int{{40, 10}, {80, 24}, {200, 60}} {
		for _, epochs := range []int{0, 1, 12} {
			var b bytes.Buffer
			curves(&b, exampleHistory(epochs), size[0], size[1], false)
			for line := range strings.Lines(b.String()) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > size[0] {
					t.Errorf("%d characters on %d: %q", n, size[0], line)
				}
			}
		}
	}
}

func TestCurveBetweenItsPoints(t *testing.T) {
	c := curve{x: []float64{1, 3, 3.1}, y: []float64{10, 30, 50}}
	got := sample(c, 0, 4, 5)
	for i, want := range []float64{math.NaN(), 10, 20, 40, math.NaN()} {
		if got[i] != want && !(math.IsNaN(got[i]) && math.IsNaN(want)) {
			t.Errorf("place %d is %g, want %g", i, got[i], want)
		}
	}
	if text := chart("loss", "step", []curve{{x: []float64{5}, y: []float64{1}}}, 80, 10, plain, false); text != "" {
		t.Errorf("a chart of one point: %q", text)
	}
}

func TestLines(t *testing.T) {
	var b strings.Builder
	for _, job := range exampleJobs() {
		fmt.Fprintln(&b, jobLine(&job, true))
	}
	golden(t, "lines.txt", b.String())
}

func TestRecorderIsThePodOfIndexZero(t *testing.T) {
	pod := func(name, attempt, index string, s corev1.ContainerState) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{childjob.LabelAttempt: attempt},
			Annotations: map[string]string{batchv1.JobCompletionIndexAnnotation: index}}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: childjob.ContainerName, State: s}}
		return p
	}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	pods := []corev1.Pod{pod("a", "1", "0", isRunning), pod("b", "2", "1", isRunning), pod("c", "2", "0", isRunning), pod("d", "2", "0", waiting)}
	if p := recorder(pods, 2); p == nil || p.Name != "c" {
		t.Errorf("%+v", p)
	}
	if p := recorder(pods, 3); p != nil {
		t.Errorf("%+v", p)
	}
}

func TestLastLines(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int64
		want string
	}{
		{"a\nb\nc\n", -1, "a\nb\nc\n"}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 1, "c"}, {"a\n", 5, "a\n"}, {"a\n", 0, ""}, {"", 3, ""},
	} {
		if got := string(lastLines([]byte(c.text), c.n)); got != c.want {
			t.Errorf("%d of %q: %q", c.n, c.text, got)
		}
	}
}

func TestServiceNames(t *testing.T) {
	for host, want := range map[string]string{
		"minio": "minio team", "minio.storage": "minio storage", "minio.storage.svc": "minio storage",
		"minio.storage.svc.cluster.local.": "minio storage", "s3.amazonaws.com": "", "10.0.0.1": "", "::1": "", "localhost": "", "": "",
	} {
		name, ns, ok := serviceName(host, "team")
		if got := strings.TrimSpace(name + " " + ns); got != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}
