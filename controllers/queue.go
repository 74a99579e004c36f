package controllers

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	// queuePrefix of Kueue's labels: queue-name, priority-class and others are passed on to the child.
	queuePrefix = "kueue.x-k8s.io/"
	// labelQueue names the queue.
	labelQueue = queuePrefix + "queue-name"
	// labelPriority names the priority within it.
	labelPriority = queuePrefix + "priority-class"
)

// enqueue passes the labels for the queueing system on to the child, not to its pod: Kueue labels pods itself. The child
// begins suspended, so that no pod can slip through before the queue has seen it; from then on suspend is the queue's.
func enqueue(job *v1.ResNetTrainingJob, child *batchv1.Job) {
	for label, value := range job.Labels {
		if strings.HasPrefix(label, queuePrefix) {
			child.Labels[label] = value
		}
	}
	if job.Labels[labelQueue] != "" {
		child.Spec.Suspend = ptr.To(true)
	}
}
