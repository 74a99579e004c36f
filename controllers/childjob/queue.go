package childjob

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	// QueuePrefix of Kueue's labels: queue-name, priority-class and others are passed on to the child.
	QueuePrefix = "kueue.x-k8s.io/"
	// LabelQueue names the queue.
	LabelQueue = QueuePrefix + "queue-name"
	// LabelPriority names the priority within it.
	LabelPriority = QueuePrefix + "priority-class"
)

// enqueue passes the labels for the queueing system on to the child, not to its pod: Kueue labels pods itself. The
// child begins suspended, so that no pod can slip through before the queue has seen it; from then on suspend is the
// queue's.
func enqueue(job *v1.ResNetTrainingJob, child *batchv1.Job) {
	for label, value := range job.Labels {
		if strings.HasPrefix(label, QueuePrefix) {
			child.Labels[label] = value
		}
	}
	if job.Labels[LabelQueue] != "" {
		child.Spec.Suspend = ptr.To(true)
	}
}
