package contract

import (
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Phase is what the trainer is doing.
type Phase string

// The phases of a run, in order; Evaluating and Training alternate.
const (
	PhaseLoading    Phase = "Loading"
	PhaseTraining   Phase = "Training"
	PhaseEvaluating Phase = "Evaluating"
	PhaseSaving     Phase = "Saving"
	PhaseDone       Phase = "Done"
)

// Progress is what a trainer serves on ProgressPath and leaves in its termination message.
type Progress struct {
	// UID of the ResNetTrainingJob: an address may be another pod's by the time it is asked.
	UID     string `json:"uid"`
	Attempt int32  `json:"attempt"`
	Phase   Phase  `json:"phase"`

	// Epoch is the number of epochs done; Step the number of optimiser steps done over all epochs.
	Epoch  int32 `json:"epoch"`
	Epochs int32 `json:"epochs"`
	Step   int64 `json:"step"`
	Steps  int64 `json:"steps"`

	// Loss is the mean training loss of the current epoch so far, or of the last one until a step of the next is known.
	Loss *float64 `json:"loss,omitempty"`
	// Accuracy and BestAccuracy are top-1 test accuracies in [0, 1], of the last and the best evaluation; Int8Accuracy is
	// the last one of the quantised network, once there is one.
	Accuracy     *float64 `json:"accuracy,omitempty"`
	Int8Accuracy *float64 `json:"int8Accuracy,omitempty"`
	BestAccuracy *float64 `json:"bestAccuracy,omitempty"`

	LR              float64 `json:"lr"`
	ImagesPerSecond float64 `json:"imagesPerSecond"`
	// ETASeconds is the expected time to the end; 0 while unknown.
	ETASeconds float64 `json:"etaSeconds"`

	StartTime     time.Time   `json:"startTime"`
	FirstStepTime *time.Time  `json:"firstStepTime,omitempty"`
	Checkpoint    *Checkpoint `json:"checkpoint,omitempty"`

	// Waiting is what the run waits for, such as a storage that does not answer; nil if nothing.
	Waiting *Waiting `json:"waiting,omitempty"`
}

// Waiting says for what a run waits, and since when.
type Waiting struct {
	// For is for people: "s3://models at http://minio:9000, which does not answer: connection refused".
	For   string    `json:"for"`
	Since time.Time `json:"since"`
}

// Checkpoint names a checkpoint that is complete in the bucket.
type Checkpoint struct {
	Name string    `json:"name"`
	URI  string    `json:"uri"`
	Time time.Time `json:"time"`
}

// Artifacts says where the results of a finished run are, as URIs.
type Artifacts struct {
	Root    string `json:"root"`
	Model   string `json:"model,omitempty"`
	Metrics string `json:"metrics,omitempty"`
	Report  string `json:"report,omitempty"`
}

// Termination is the trainer's last word: the JSON that it writes to its termination message.
type Termination struct {
	ExitCode ExitCode `json:"exitCode"`
	// Interrupted: this process itself was told to stop, not only another one of its attempt.
	Interrupted bool `json:"interrupted,omitempty"`
	// Message says in one line what happened and what to do; it holds no secret.
	Message   string     `json:"message,omitempty"`
	Progress  *Progress  `json:"progress,omitempty"`
	Artifacts *Artifacts `json:"artifacts,omitempty"`
}

// maxTermination is the kubelet's limit for the termination message of a container, in bytes.
const maxTermination = 4096

// Marshal returns t as JSON of at most 4096 bytes; a longer message is cut.
func (t Termination) Marshal() []byte {
	t.Message = Shorten(t.Message, maxTermination)
	for {
		b, err := json.Marshal(t)
		if err != nil { // only a NaN or infinity can do this
			b, _ = json.Marshal(Termination{ExitCode: t.ExitCode, Message: t.Message})
		}
		if len(b) <= maxTermination || t.Message == "" {
			return b
		}
		// A character may take six bytes in JSON, so go down in small steps.
		t.Message = Shorten(t.Message, len(t.Message)-(len(b)-maxTermination)/6-len("……"))
	}
}

// Shorten cuts s to at most n bytes of whole characters; "…" marks where.
func Shorten(s string, n int) string {
	if n >= len(s) {
		return s
	}
	if n -= len("…"); n <= 0 {
		return ""
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// ParseTermination reads a termination message; ok is false if it is not one of the trainer's.
func ParseTermination(message string) (t Termination, ok bool) {
	err := json.Unmarshal([]byte(message), &t)
	return t, err == nil
}
