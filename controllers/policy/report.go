package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// What a pod says about itself is not trusted: it may be huge, malformed, old, another attempt's, or a lie. Here it
// becomes a status, or nothing.

const (
	// maxProgress limits what is read from a pod, in bytes.
	maxProgress = 64 << 10
	maxURI      = 2048
	maxWord     = 64
	maxSteps    = 1e12
	maxLoss     = 1e300
	maxRate     = 1e9
	maxETA      = 10 * 365 * 24 * time.Hour
)

// Run is an attempt of a job, as its trainer knows it.
type Run struct {
	UID     types.UID
	Attempt int32
	Epochs  int32
}

// Run is the one that is observed.
func (o Observation) Run() Run {
	return Run{UID: o.Job.UID, Attempt: o.Attempt, Epochs: o.Job.Spec.Training.Epochs}
}

// ErrAnotherJob is the answer of the trainer of another job, which has the address by now.
var ErrAnotherJob = errors.New("the trainer of another job answers")

// ParseProgress reads the answer of the trainer of a run. What it returns can be kept and shown: it is small, and holds
// no number that cannot be.
func ParseProgress(r io.Reader, run Run) (*contract.Progress, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxProgress+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxProgress {
		return nil, fmt.Errorf("more than %d bytes", maxProgress)
	}
	p := &contract.Progress{}
	if err := json.Unmarshal(body, p); err != nil {
		return nil, err
	}
	return run.believe(*p)
}

// believe returns what this run can have made of a progress, and an error if it is another's or cannot be.
func (r Run) believe(p contract.Progress) (*contract.Progress, error) {
	switch {
	case p.UID != "" && p.UID != string(r.UID): // trainers that are older than the field send none
		return nil, fmt.Errorf("%w: it has the UID %q, not %s", ErrAnotherJob, contract.Shorten(p.UID, maxWord), r.UID)
	case p.Attempt != r.Attempt:
		return nil, fmt.Errorf("attempt %d answers in place of attempt %d", p.Attempt, r.Attempt)
	case p.Phase == contract.PhaseLoading: // the counters are not set yet
		p.Epoch, p.Step, p.Steps = 0, 0, 0
	case p.Epochs != r.Epochs, p.Epoch < 0, p.Epoch > p.Epochs,
		p.Step < 0, p.Step > maxSteps, p.Steps < 0, p.Steps > maxSteps:
		return nil, fmt.Errorf("epoch %d of %d and step %d of %d are not of a job of %d epochs",
			p.Epoch, p.Epochs, p.Step, p.Steps, r.Epochs)
	}
	p.UID, p.Phase = string(r.UID), contract.Phase(contract.Shorten(string(p.Phase), maxWord))
	p.Loss = between(p.Loss, 0, maxLoss)
	p.Accuracy, p.BestAccuracy = between(p.Accuracy, 0, 1), between(p.BestAccuracy, 0, 1)
	p.Int8Accuracy = between(p.Int8Accuracy, 0, 1)
	p.ImagesPerSecond = ptr.Deref(between(&p.ImagesPerSecond, 0, maxRate), 0)
	p.ETASeconds = ptr.Deref(between(&p.ETASeconds, 0, maxETA.Seconds()), 0)
	if c := p.Checkpoint; c != nil {
		if _, _, ok := contract.ParseCheckpointName(c.Name); !ok || len(c.URI) > maxURI {
			p.Checkpoint = nil
		}
	}
	if p.Waiting != nil {
		p.Waiting = &contract.Waiting{For: contract.Shorten(p.Waiting.For, maxWaiting), Since: p.Waiting.Since}
	}
	return &p, nil
}

// between is x, or nil if it lies outside the bounds or is no number.
func between(x *float64, low, high float64) *float64 {
	if x == nil || !(*x >= low && *x <= high) {
		return nil
	}
	return x
}

// artifactsOf takes over the places that can be right.
func artifactsOf(a contract.Artifacts, job *v1.ResNetTrainingJob) *v1.ArtifactsStatus {
	place := func(uri string) string {
		if !ofJob(uri, job) {
			return ""
		}
		return uri
	}
	if place(a.Root) == "" {
		return nil
	}
	return &v1.ArtifactsStatus{
		URI: place(a.Root), Model: place(a.Model), Metrics: place(a.Metrics), Report: place(a.Report),
	}
}

// ofJob is true for a URI in the job's own folder of its storage, and for that folder.
func ofJob(uri string, job *v1.ResNetTrainingJob) bool {
	scheme, storage, _ := strings.Cut(job.Spec.Storage.URI, "://")
	folder := scheme + "://" + path.Join(storage, contract.JobPrefix(job.Namespace, job.Name, string(job.UID)))
	below, found := strings.CutPrefix(uri, folder)
	return found && len(uri) <= maxURI && (below == "" || below[0] == '/') &&
		!slices.Contains(strings.Split(below, "/"), "..") &&
		!strings.ContainsFunc(uri, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// within moves a time that cannot be into the life of the job.
func within(t time.Time, job *v1.ResNetTrainingJob, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	if born := job.CreationTimestamp.Time; t.Before(born) {
		return born
	}
	return t
}

const (
	// waits stands between a message and what the trainer waits for.
	waits = "; waits since "
	// maxWaiting keeps what a trainer says that it waits for short, in bytes.
	maxWaiting = 512
)

// waitingFor is what the trainer says that it waits for, as the end of a message; "" if it waits for nothing.
func waitingFor(p *contract.Progress, job *v1.ResNetTrainingJob, now time.Time) string {
	if p == nil || p.Waiting == nil {
		return ""
	}
	since := within(p.Waiting.Since, job, now).UTC().Format(time.RFC3339)
	return clean(fmt.Sprintf("%s%s for %s", waits, since, contract.Shorten(p.Waiting.For, maxWaiting)))
}
