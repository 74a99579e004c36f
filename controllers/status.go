package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	ac "github.com/resnet-operator/resnet-operator/api/v1/applyconfiguration/api/v1"
)

// fieldOwner owns the status.
const fieldOwner = client.FieldOwner("resnet-operator")

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
		r.puller.written(client.ObjectKeyFromObject(o.job), r.Clock.Now())
	}
	if waitsFor(o.job.Status) != waitsFor(d.status) {
		r.explained.Store(client.ObjectKeyFromObject(o.job), r.Clock.Now())
	}
	r.metrics.wrote(o, d.status)
	for _, e := range d.events {
		log.FromContext(ctx).Info(e.message, "reason", e.reason, "state", d.status.State, "attempt", d.status.Attempt)
		r.Recorder.Eventf(o.job, nil, e.kind, e.reason, "Reconcile", "%s", e.message)
	}
	return nil
}

// waitsFor is what the condition Progressing says.
func waitsFor(s v1.ResNetTrainingJobStatus) string {
	if c := meta.FindStatusCondition(s.Conditions, v1.ConditionProgressing); c != nil {
		return c.Message
	}
	return ""
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
