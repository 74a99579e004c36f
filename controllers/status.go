package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	ac "github.com/resnet-operator/resnet-operator/api/v1/applyconfiguration/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// fieldOwner owns the status.
const fieldOwner = client.FieldOwner("resnet-operator")

// writeStatus patches the status if it changed, then emits the events. The patch carries the resourceVersion that was
// observed: a decision made on old facts is refused.
func (r *Reconciler) writeStatus(ctx context.Context, o *policy.Observation, d policy.Decision) error {
	if !d.StatusChanged(*o) {
		return nil
	}
	patch, err := statusPatch(o.Job, d.Status)
	if err != nil {
		return err
	}
	began := r.Clock.Now()
	if err := r.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	r.latency.wrote(r.Clock.Since(began), r.Clock.Now())
	if d.ProgressChanged {
		r.puller.written(client.ObjectKeyFromObject(o.Job), r.Clock.Now())
	}
	if progressingMessage(o.Job.Status) != progressingMessage(d.Status) {
		r.conditionWritten.Store(client.ObjectKeyFromObject(o.Job), r.Clock.Now())
	}
	r.metrics.wrote(o, d.Status)
	for _, e := range d.Events {
		log.FromContext(ctx).Info(e.Message, "reason", e.Reason, "state", d.Status.State, "attempt", d.Status.Attempt)
		r.Recorder.Eventf(o.Job, nil, e.Type, e.Reason, "Reconcile", "%s", e.Message)
	}
	return nil
}

// progressingMessage is that of the condition Progressing.
func progressingMessage(s v1.ResNetTrainingJobStatus) string {
	if c := meta.FindStatusCondition(s.Conditions, v1.ConditionProgressing); c != nil {
		return c.Message
	}
	return ""
}

// statusPatch turns a status into the apply-configuration of the same fields.
func statusPatch(
	job *v1.ResNetTrainingJob, status v1.ResNetTrainingJobStatus,
) (*ac.ResNetTrainingJobApplyConfiguration, error) {
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
