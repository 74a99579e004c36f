package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	ac "github.com/resnet-operator/resnet-operator/api/v1/applyconfiguration/api/v1"
)

// fieldOwner owns the status.
const fieldOwner = client.FieldOwner("resnet-operator")

// record takes over what the trainer said about itself.
func (d *decision) record(a attempt) {
	p := a.progress
	if p == nil || p.Phase == contract.PhaseLoading {
		return // until a resumed run has read its checkpoint it knows less than the status does
	}
	d.status.Progress = &v1.ProgressStatus{
		Epoch:           fmt.Sprintf("%d/%d", p.Epoch, p.Epochs),
		Step:            p.Step,
		Loss:            number(p.Loss, 1, "%.4f"),
		Accuracy:        number(p.Accuracy, 100, "%.2f%%"),
		BestAccuracy:    number(p.BestAccuracy, 100, "%.2f%%"),
		ImagesPerSecond: number(positive(p.ImagesPerSecond), 1, "%.0f"),
	}
	if p.ETASeconds > 0 {
		d.status.Progress.ETA = (time.Duration(p.ETASeconds) * time.Second).String()
	}
	if d.status.FirstStepTime == nil && p.FirstStepTime != nil {
		d.status.FirstStepTime = timeOf(*p.FirstStepTime)
	}
	if c := p.Checkpoint; c != nil {
		d.status.Checkpoint = &v1.CheckpointStatus{Name: c.Name, URI: c.URI, Time: *timeOf(c.Time)}
	}
}

// number formats with fixed precision, so that a status never flaps between two spellings of one value.
func number(x *float64, scale float64, format string) string {
	if x == nil || math.IsNaN(*x) || math.IsInf(*x, 0) {
		return ""
	}
	return fmt.Sprintf(format, *x*scale)
}

func positive(x float64) *float64 {
	if x <= 0 {
		return nil
	}
	return &x
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

// writeStatus patches the status if it changed, then emits the events. The patch carries the resourceVersion that was
// observed: a decision made on old facts is refused.
func (r *Reconciler) writeStatus(ctx context.Context, o *observation, d decision) error {
	if !d.progressChanged && sameButProgress(o.job.Status, d.status) {
		return nil
	}
	patch, err := statusPatch(o.job, d.status)
	if err != nil {
		return err
	}
	if err := r.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	if d.progressChanged {
		r.puller.written(o.job.UID, r.Clock.Now())
	}
	for _, e := range d.events {
		r.Recorder.Eventf(o.job, nil, e.kind, e.reason, "Reconcile", "%s", e.message)
	}
	return nil
}

// statusPatch turns a status into the apply-configuration of the same fields.
func statusPatch(job *v1.ResNetTrainingJob, status v1.ResNetTrainingJobStatus) (*ac.ResNetTrainingJobApplyConfiguration, error) {
	b, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	s := ac.ResNetTrainingJobStatus()
	if err := json.Unmarshal(b, s); err != nil {
		return nil, err
	}
	return ac.ResNetTrainingJob(job.Name, job.Namespace).WithResourceVersion(job.ResourceVersion).WithStatus(s), nil
}
