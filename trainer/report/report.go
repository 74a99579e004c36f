// Package report makes what a person or a tool wants to see of a training: metrics as JSONL and CSV, TensorBoard events,
// plots, and a report as HTML and JSON. It only formats: nothing here reads or writes a bucket.
package report

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// Report is everything that is known of a run: the content of report.json.
type Report struct {
	Job      Job       `json:"job"`
	Created  time.Time `json:"created"`
	Versions Versions  `json:"versions"`
	Hardware Hardware  `json:"hardware"`
	Model    Model     `json:"model"`
	Data     Data      `json:"data"`
	Training Training  `json:"training"`
	// History has one record for every epoch, those of earlier attempts included.
	History []checkpoint.EpochMetrics `json:"history"`
	// Steps are the curves within the epochs, Schedule the learning rate of the whole training: both of bounded number.
	Steps    []contract.StepMetrics `json:"steps,omitempty"`
	Schedule []SchedulePoint        `json:"schedule,omitempty"`
	// Images of the data set that the page shows; nil if there were none.
	Images *Gallery `json:"images,omitempty"`
	// Evaluation of the final weights on the test images; nil if there was none.
	Evaluation *Evaluation        `json:"evaluation,omitempty"`
	Artifacts  contract.Artifacts `json:"artifacts"`
	// Spec is the job with all its defaults. Credentials in URIs and the values of variables are left out.
	Spec v1.ResNetTrainingJobSpec `json:"spec"`
}

// Job names the ResNetTrainingJob.
type Job struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// Versions of the programs.
type Versions struct {
	Trainer  string `json:"trainer"`
	Libtorch string `json:"libtorch"`
	Go       string `json:"go"`
}

// Hardware that the last attempt ran on.
type Hardware struct {
	// Device is cpu or cuda; DeviceName what its maker calls it.
	Device     string `json:"device"`
	DeviceName string `json:"deviceName,omitempty"`
	// Threads that computed, on a CPU.
	Threads int `json:"threads,omitempty"`
	// Precision of the computation: fp32, bf16 or fp16.
	Precision string `json:"precision"`
}

// Model is the size of the network.
type Model struct {
	Parameters int64 `json:"parameters"`
}

// Data that the run used.
type Data struct {
	Name    string   `json:"name"`
	Classes []string `json:"classes"`
	// Numbers of images.
	Train      int `json:"train"`
	Validation int `json:"validation,omitempty"`
	Test       int `json:"test"`
	// Height and Width in pixels, and Channels, of an image.
	Height   int `json:"height"`
	Width    int `json:"width"`
	Channels int `json:"channels"`
	// Mean and Std of the pixels in [0, 1], which normalise them, one number a channel.
	Mean []float64 `json:"mean"`
	Std  []float64 `json:"std"`
}

// SchedulePoint is the learning rate of a step, counted from 1.
type SchedulePoint struct {
	Step int64   `json:"step"`
	LR   float64 `json:"lr"`
}

// State of a run at the time of its report.
type State string

const (
	StateTraining State = "Training"
	StateStopped  State = "Stopped"
	StateDone     State = "Done"
)

// Training is how the run went.
type Training struct {
	// Attempts is the number of the last attempt.
	Attempts int32 `json:"attempts"`
	// State is Training, Done, or Stopped with the reason in Error: the run may have diverged.
	State State  `json:"state"`
	Error string `json:"error,omitempty"`
	// Diverged: it was stopped because its numbers were not finite.
	Diverged bool `json:"diverged,omitempty"`
	// Epochs and Steps done.
	Epochs int32 `json:"epochs"`
	Steps  int64 `json:"steps"`
	// BestEpoch counts from 1. It is the one with the highest accuracy on the validation images if there are any, else on
	// the test images.
	BestEpoch int32 `json:"bestEpoch"`
	// Seconds is the time of all epochs, their evaluations included.
	Seconds float64 `json:"seconds"`
	// ImagesPerSecond is the training throughput, the mean over the epochs weighted by their time.
	ImagesPerSecond float64 `json:"imagesPerSecond"`
	// MemoryBytes is the peak.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
}

// Complete derives from the history what follows from it, and drops what does not belong into a report: numbers that
// are not finite, and credentials in URIs. Call it before anything else.
func (r *Report) Complete() {
	r.History = contract.FiniteEpochs(r.History)
	r.Spec = withoutCredentials(r.Spec)
	r.Spec.Model.Stem = arch.StemOf(r.Spec.Model, r.Data.Height, r.Data.Width)
	r.Spec.Training.Augmentation.HorizontalFlip = new(r.Spec.Training.Augmentation.Flips(r.Spec.Dataset.Format))
	t := &r.Training
	t.Epochs = int32(len(r.History))
	if n := len(r.Steps); n > 0 {
		t.Steps = r.Steps[n-1].Step
	}
	t.Seconds, t.ImagesPerSecond = 0, 0
	for _, m := range r.History {
		t.Steps = max(t.Steps, m.Step)
		t.Seconds += m.Seconds
		t.ImagesPerSecond += m.ImagesPerSecond * m.Seconds
		t.MemoryBytes = max(t.MemoryBytes, m.MemoryBytes)
	}
	if t.Seconds > 0 {
		t.ImagesPerSecond /= t.Seconds
	}
	if r.Evaluation != nil {
		r.Evaluation.complete(r.Data.Classes)
	}
}

// JSON is the content of report.json.
func (r *Report) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// tested are the epochs that were tested.
func (r *Report) tested() []checkpoint.EpochMetrics { return contract.TestedEpochs(r.History) }

// last and best records of the epochs that were tested; the zero record if there is none.
func (r *Report) last() (m checkpoint.EpochMetrics) {
	if tested := r.tested(); len(tested) > 0 {
		return tested[len(tested)-1]
	}
	return m
}
func (r *Report) best() checkpoint.EpochMetrics { return r.epoch(r.Training.BestEpoch) }

func (r *Report) epoch(n int32) (m checkpoint.EpochMetrics) {
	if i := slices.IndexFunc(r.History, func(m checkpoint.EpochMetrics) bool { return m.Epoch == n }); i >= 0 {
		return r.History[i]
	}
	return m
}

// value is *v, or 0.
func value(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// JSONLines is the content of metrics.jsonl: one record a line.
func JSONLines(history []checkpoint.EpochMetrics) ([]byte, error) {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, m := range contract.FiniteEpochs(history) {
		if err := enc.Encode(m); err != nil {
			return nil, err
		}
	}
	return lines.Bytes(), nil
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// withoutCredentials drops user names, passwords and queries (which hold signatures) from the URIs of a spec, and the values
// of variables, of which a proxy's address or a token may be one.
func withoutCredentials(spec v1.ResNetTrainingJobSpec) v1.ResNetTrainingJobSpec {
	spec = *spec.DeepCopy()
	uris := []*string{&spec.Dataset.URI, &spec.Storage.URI}
	if spec.ResumeFrom != nil {
		uris = append(uris, &spec.ResumeFrom.URI)
	}
	for _, u := range uris {
		*u = uri.Public(*u)
	}
	if spec.Template != nil {
		for i := range spec.Template.Env {
			spec.Template.Env[i].Value = ""
		}
	}
	return spec
}
