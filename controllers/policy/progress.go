package policy

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// ProgressInterval is the least time between two writes that change nothing but progress.
const ProgressInterval = 10 * time.Second

// maxWait limits how long a write waits because the API server is busy.
const maxWait = 30 * time.Second

// unlessBusy is a wait between writes, or a longer one while the API server is busy: a job then takes at most a hundredth
// of its time for what is not urgent.
func unlessBusy(wait time.Duration, o Observation) time.Duration {
	return max(wait, min(100*o.WriteLatency, maxWait))
}

// recordProgress takes over what the trainer reports about itself.
func (d *Decision) recordProgress(o Observation, p *contract.Progress, now time.Time) {
	if p == nil || p.Phase == contract.PhaseLoading {
		return // until a resumed run has read its checkpoint it knows less than the status does
	}
	d.Status.Progress = &v1.ProgressStatus{
		Epoch:           p.Epoch,
		Epochs:          p.Epochs,
		Step:            p.Step,
		Steps:           p.Steps,
		Loss:            loss(p.Loss),
		Accuracy:        ratio(p.Accuracy),
		Int8Accuracy:    ratio(p.Int8Accuracy),
		BestAccuracy:    ratio(p.BestAccuracy),
		ImagesPerSecond: rate(p.ImagesPerSecond),
		ETASeconds:      int64(p.ETASeconds),
	}
	if d.Status.FirstStepTime == nil && p.FirstStepTime != nil {
		d.Status.FirstStepTime = timeOf(within(*p.FirstStepTime, o.Job, now))
	}
	if c := p.Checkpoint; c != nil && ofJob(c.URI, o.Job) {
		if epoch, step, ok := contract.ParseCheckpointName(c.Name); ok {
			d.Status.Checkpoint = &v1.CheckpointStatus{
				Name: c.Name, Epoch: epoch, Step: step, URI: c.URI, Time: *timeOf(within(c.Time, o.Job, now)),
			}
		}
	}
}

// sameWaiting reports whether the status says that the trainer waits for this already.
func (d *Decision) sameWaiting(waiting string) bool {
	said := ""
	if c := meta.FindStatusCondition(d.Status.Conditions, v1.ConditionProgressing); c != nil {
		if i := strings.Index(c.Message, waits); i >= 0 {
			said = c.Message[i:]
		}
	}
	return said == waiting
}

// recordPod records in which pod the attempt has run: an attempt ends with that pod, whatever its Job does next. It
// costs no write of its own unless the pod is about to go, or takes long to read its data.
func (d *Decision) recordPod(o Observation, a attemptStatus, now time.Time) {
	if a.startedPod == "" || d.Status.PodName != "" || o.Attempt != d.Status.Attempt {
		return
	}
	if sameButProgress(o.Job.Status, d.Status) && !a.terminating {
		if wait := ProgressInterval - now.Sub(a.startedAt); wait > 0 || a.startedAt.IsZero() {
			d.requeue(wait)
			return
		}
	}
	d.Status.PodName = a.startedPod
}

// coalesce puts off a write that changes nothing but progress until the last one is old enough.
func (d *Decision) coalesce(o Observation, ended bool, now time.Time) {
	d.ProgressChanged = progressMoved(o.Job.Status, d.Status, ended) ||
		o.LossDue && lossOf(o.Job.Status) != lossOf(d.Status)
	if !d.ProgressChanged || ended || !sameButProgress(o.Job.Status, d.Status) {
		return
	}
	if wait := unlessBusy(ProgressInterval, o) - now.Sub(o.ProgressWritten); wait > 0 {
		d.Status.Progress, d.Status.Checkpoint = o.Job.Status.Progress, o.Job.Status.Checkpoint
		d.ProgressChanged = false
		d.requeue(wait)
	}
}

// StatusChanged is true if the status is to be written: something in it is new that is worth a write.
func (d *Decision) StatusChanged(o Observation) bool {
	return d.ProgressChanged || !sameButProgress(o.Job.Status, d.Status)
}

// progressMoved reports whether there is progress worth a write: of epoch or accuracy, and at the end of an attempt
// also of the loss and the checkpoint, which is where the next one begins.
func progressMoved(before, after v1.ResNetTrainingJobStatus, ended bool) bool {
	type key struct {
		epoch      int32
		accuracy   float64
		loss       float64
		checkpoint string
	}
	of := func(s v1.ResNetTrainingJobStatus) key {
		k := key{epoch: -1}
		if p := s.Progress; p != nil {
			k.epoch, k.accuracy = p.Epoch, ptr.Deref(p.Accuracy, -1)
		}
		if ended {
			k.loss = lossOf(s)
		}
		if c := s.Checkpoint; c != nil && ended {
			k.checkpoint = c.Name
		}
		return k
	}
	return of(before) != of(after)
}

// lossOf a status, -1 if it has none.
func lossOf(s v1.ResNetTrainingJobStatus) float64 {
	if s.Progress == nil {
		return -1
	}
	return ptr.Deref(s.Progress.Loss, -1)
}

// sameButProgress compares the rest.
func sameButProgress(a, b v1.ResNetTrainingJobStatus) bool {
	a.Progress, a.Display, a.Checkpoint, b.Progress, b.Display, b.Checkpoint = nil, nil, nil, nil, nil, nil
	return equality.Semantic.DeepEqual(a, b)
}
