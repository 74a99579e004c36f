package policy

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// progressInterval is the least time between two writes that change nothing but progress.
const progressInterval = 10 * time.Second

// recordProgress takes over what the trainer reports about itself.
func (d *Decision) recordProgress(o Observation, p *contract.Progress, now time.Time) {
	if p == nil || p.Phase == contract.PhaseLoading {
		return // until a resumed run has read its checkpoint it knows less than the status does
	}
	d.Status.Progress = &v1.ProgressStatus{
		Epoch:           fmt.Sprintf("%d/%d", p.Epoch, p.Epochs),
		Step:            p.Step,
		Loss:            number(p.Loss),
		Accuracy:        percent(p.Accuracy),
		BestAccuracy:    percent(p.BestAccuracy),
		ImagesPerSecond: rate(p.ImagesPerSecond),
		ETA:             duration(p.ETASeconds),
	}
	if d.Status.FirstStepTime == nil && p.FirstStepTime != nil {
		d.Status.FirstStepTime = timeOf(within(*p.FirstStepTime, o.Job, now))
	}
	if c := p.Checkpoint; c != nil && ofJob(c.URI, o.Job) {
		d.Status.Checkpoint = &v1.CheckpointStatus{Name: c.Name, URI: c.URI, Time: *timeOf(within(c.Time, o.Job, now))}
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

// recordPod records in which pod the attempt has run: an attempt ends with that pod, whatever its Job does next. It costs
// no write of its own unless the pod is about to go, or takes long to read its data.
func (d *Decision) recordPod(o Observation, a attemptStatus, now time.Time) {
	if a.startedPod == "" || d.Status.PodName != "" || o.Attempt != d.Status.Attempt {
		return
	}
	if sameButProgress(o.Job.Status, d.Status) && !a.terminating {
		if wait := progressInterval - now.Sub(a.startedAt); wait > 0 || a.startedAt.IsZero() {
			d.requeue(wait)
			return
		}
	}
	d.Status.PodName = a.startedPod
}

// coalesce puts off a write that changes nothing but progress until the last one is old enough.
func (d *Decision) coalesce(o Observation, ended bool, now time.Time) {
	d.ProgressChanged = progressMoved(o.Job.Status, d.Status, ended)
	if !d.ProgressChanged || ended || !sameButProgress(o.Job.Status, d.Status) {
		return
	}
	if wait := progressInterval - now.Sub(o.ProgressWritten); wait > 0 {
		d.Status.Progress, d.Status.Checkpoint = o.Job.Status.Progress, o.Job.Status.Checkpoint
		d.ProgressChanged = false
		d.requeue(wait)
	}
}

// StatusChanged is true if the status is to be written: something in it is new that is worth a write.
func (d *Decision) StatusChanged(o Observation) bool {
	return d.ProgressChanged || !sameButProgress(o.Job.Status, d.Status)
}

// progressMoved reports whether there is progress worth a write: of epoch, loss or accuracy, and at the end of an
// attempt also of the checkpoint, which is where the next one begins.
func progressMoved(before, after v1.ResNetTrainingJobStatus, ended bool) bool {
	key := func(s v1.ResNetTrainingJobStatus) (k [4]string) {
		if p := s.Progress; p != nil {
			k[0], k[1], k[2] = p.Epoch, p.Loss, p.Accuracy
		}
		if c := s.Checkpoint; c != nil && ended {
			k[3] = c.Name
		}
		return k
	}
	return key(before) != key(after)
}

// sameButProgress compares the rest.
func sameButProgress(a, b v1.ResNetTrainingJobStatus) bool {
	a.Progress, a.Checkpoint, b.Progress, b.Checkpoint = nil, nil, nil, nil
	return equality.Semantic.DeepEqual(a, b)
}
