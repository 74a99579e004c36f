package controllers

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// replace begins anew with the edited spec: what the attempt waited for may be settled by the edit.
func (d *decision) replace(o observation, now time.Time) {
	message := fmt.Sprintf("attempt %d had not started; the next one begins with the new spec", o.attempt)
	d.retry(o, now, 0, corev1.EventTypeNormal, v1.ReasonSpecChanged, message)
}

// edited is true if the job no longer asks for the pod, or the place in a queue, that the child was made for.
func edited(o observation) bool {
	for _, label := range []string{labelQueue, labelPriority} {
		if want := o.job.Labels[label]; want != "" && want != o.child.Labels[label] {
			return true
		}
	}
	var made struct{ Spec v1.ResNetTrainingJobSpec }
	payload := o.child.Spec.Template.Annotations[annotationJob]
	if payload == "" || json.Unmarshal([]byte(payload), &made) != nil {
		return false
	}
	pod := func(s v1.ResNetTrainingJobSpec) v1.ResNetTrainingJobSpec {
		return v1.ResNetTrainingJobSpec{Image: s.Image, ImagePullPolicy: s.ImagePullPolicy, Resources: s.Resources, Template: s.Template}
	}
	return !equality.Semantic.DeepEqual(pod(made.Spec), pod(o.job.Spec))
}
