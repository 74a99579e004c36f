package policy

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// What a pod says about itself is not trusted: it may be huge, malformed, old, another attempt's, or a lie. Here it
// becomes a status, or nothing.

const (
	// maxProgress limits what is read from a pod, in bytes.
	maxProgress = 64 << 10
	maxURI      = 2048
	maxSteps    = 1e12
	maxETA      = 10 * 365 * 24 * time.Hour
)

// ParseProgress reads the answer of the trainer of an attempt.
func ParseProgress(r io.Reader, attempt int32) (*contract.Progress, error) {
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
	if p.Attempt != attempt {
		return nil, fmt.Errorf("attempt %d answers in place of attempt %d", p.Attempt, attempt)
	}
	return p, nil
}

// believable is true for progress that this attempt of the job can have made.
func believable(p contract.Progress, o Observation) bool {
	if p.Phase == contract.PhaseLoading { // the counters are not set yet
		return p.Attempt == o.Attempt
	}
	return p.Attempt == o.Attempt && p.Epochs == o.Job.Spec.Training.Epochs &&
		p.Epoch >= 0 && p.Epoch <= p.Epochs && p.Step >= 0 && p.Step <= maxSteps
}

// checkpointName is what contract.CheckpointName makes.
var checkpointName = regexp.MustCompile(`^[0-9]{1,10}-[0-9]{1,19}-a[0-9]{1,10}$`)

// artifactsOf takes over the places that can be right.
func artifactsOf(a contract.Artifacts, job *v1.ResNetTrainingJob) *v1.ArtifactsStatus {
	place := func(uri string) string {
		if !inStorage(uri, job) {
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

// inStorage is true for a URI in the bucket of the job, or for a folder if that is a folder.
func inStorage(uri string, job *v1.ResNetTrainingJob) bool {
	scheme, rest, _ := strings.Cut(job.Spec.Storage.URI, "://")
	bucket, _, _ := strings.Cut(rest, "/")
	return len(uri) <= maxURI && strings.HasPrefix(uri, scheme+"://"+bucket+"/") &&
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

// The formats have a fixed precision, so that a status never flaps between two spellings of one value. What cannot be
// is left out.

func number(x *float64) string {
	switch {
	case x == nil || !(*x >= 0 && *x <= 1e300):
		return ""
	case *x >= 1e6:
		return fmt.Sprintf("%.3e", *x)
	}
	return fmt.Sprintf("%.4f", *x)
}

func percent(x *float64) string {
	if x == nil || !(*x >= 0 && *x <= 1) {
		return ""
	}
	return fmt.Sprintf("%.2f%%", *x*100)
}

func rate(x float64) string {
	if !(x > 0 && x < 1e9) {
		return ""
	}
	return fmt.Sprintf("%.0f", x)
}

func duration(seconds float64) string {
	if !(seconds >= 1 && seconds < maxETA.Seconds()) {
		return ""
	}
	return (time.Duration(seconds) * time.Second).String()
}
