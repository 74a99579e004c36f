package policy

import (
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Decision is what to do, and what to report.
type Decision struct {
	// Create is the number of the attempt to begin; 0 for none.
	Create int32
	// Delete names the child Jobs to delete.
	Delete []string
	// Status the job shall have.
	Status v1.ResNetTrainingJobStatus
	// Events to emit once the status is written.
	Events []Event
	// DeleteJob is true when the job's time to live is over.
	DeleteJob bool
	// ProgressURL of the trainer to pull progress from, and the name of its pod; "" for none.
	ProgressURL, PodName string
	// ProgressChanged is true if the status holds newer progress than the job.
	ProgressChanged bool
	// HeldSince is when the write of the status was first put off, so that it becomes one with what follows; zero if it is
	// to be written now.
	HeldSince time.Time
	// RequeueAfter is when to look again if no watch says so before; 0 for never.
	RequeueAfter time.Duration
}

// Event is one line in the events of kubectl describe.
type Event struct {
	Type    string // Normal or Warning
	Reason  string
	Message string
}

func (d *Decision) normal(reason, message string) { d.event(corev1.EventTypeNormal, reason, message) }

func (d *Decision) warn(reason, message string) { d.event(corev1.EventTypeWarning, reason, message) }

func (d *Decision) event(eventType, reason, message string) {
	d.Events = append(d.Events, Event{eventType, reason, clean(message)})
}

func (d *Decision) condition(
	o Observation, now time.Time, conditionType string, status metav1.ConditionStatus, reason, message string,
) {
	meta.SetStatusCondition(&d.Status.Conditions, metav1.Condition{
		Type: conditionType, Status: status, Reason: reason, Message: clean(message), ObservedGeneration: o.Job.Generation,
		LastTransitionTime: *timeOf(now), // kept as it was if the status is
	})
}

// requeue sets the time of the next look, if it is not to be sooner anyway. 0 is never.
func (d *Decision) requeue(after time.Duration) { d.RequeueAfter = sooner(d.RequeueAfter, after) }

// follow asks the trainer of an attempt for its progress.
func (d *Decision) follow(a attemptStatus) {
	if a.podIP != "" {
		d.PodName = a.startedPod
		d.ProgressURL = "http://" + net.JoinHostPort(a.podIP, strconv.Itoa(contract.Port)) + contract.ProgressPath
	}
}

func (d *Decision) finished() bool {
	return d.Status.State == v1.StateSucceeded || d.Status.State == v1.StateFailed
}

// between is true when the last attempt is over and counted, and the next one has not begun.
func (d *Decision) between() bool {
	return d.Status.State == v1.StateRestarting || d.Status.State == v1.StateSuspended
}

func timeOf(now time.Time) *metav1.Time { return &metav1.Time{Time: now.Truncate(time.Second)} }
