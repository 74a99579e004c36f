package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// State summarises where a job is in its life. Succeeded and Failed are final.
// +kubebuilder:validation:Enum=Pending;Queued;Starting;Running;Restarting;Suspended;Succeeded;Failed
type State string

const (
	// StatePending has no pod yet.
	StatePending State = "Pending"
	// StateQueued waits for quota from a queueing system.
	StateQueued State = "Queued"
	// StateStarting has a pod that does not train yet: it is scheduled, pulls its image or reads the data.
	StateStarting State = "Starting"
	// StateRunning trains.
	StateRunning State = "Running"
	// StateRestarting ended an attempt and will begin the next one.
	StateRestarting State = "Restarting"
	// StateSuspended was stopped by spec.suspend.
	StateSuspended State = "Suspended"
	// StateSucceeded trained to the end and saved the model.
	StateSucceeded State = "Succeeded"
	// StateFailed will not be tried again.
	StateFailed State = "Failed"
)

// Condition types.
const (
	// ConditionSuspended is true while spec.suspend holds the job back.
	ConditionSuspended = "Suspended"
	// ConditionProgressing is true while an attempt is under way or will be; its reason and message say what is awaited.
	ConditionProgressing = "Progressing"
	// ConditionComplete is true once the model is saved.
	ConditionComplete = "Complete"
	// ConditionFailed is true once the job is given up; its message says what to do.
	ConditionFailed = "Failed"
)

// ResNetTrainingJobStatus is what the operator knows about a job. Numbers are strings of fixed precision.
type ResNetTrainingJobStatus struct {
	// ObservedGeneration is the generation of the spec that this status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// State summarises the conditions.
	// +optional
	State State `json:"state,omitempty"`

	// Conditions: Suspended, Progressing, Complete, Failed.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Attempt is the number of the current or last attempt, from 1.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// PodName is the pod of the current or last attempt, once its container has run. An attempt ends with its pod.
	// +optional
	PodName string `json:"podName,omitempty"`

	// Failures is the number of attempts that failed.
	// +optional
	Failures int32 `json:"failures,omitempty"`

	// Disruptions is the number of attempts that were ended from outside; they cost no retry.
	// +optional
	Disruptions int32 `json:"disruptions,omitempty"`

	// Progress of the current or last attempt.
	// +optional
	Progress *ProgressStatus `json:"progress,omitempty"`

	// Checkpoint that the next attempt would resume from.
	// +optional
	Checkpoint *CheckpointStatus `json:"checkpoint,omitempty"`

	// Artifacts of a finished job.
	// +optional
	Artifacts *ArtifactsStatus `json:"artifacts,omitempty"`

	// StartTime is when the first attempt was created.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// AttemptStartTime is when the current or last attempt was created.
	// +optional
	AttemptStartTime *metav1.Time `json:"attemptStartTime,omitempty"`

	// ActiveSince is when the clock of spec.activeDeadlineSeconds last began to run; it is empty while the clock stands.
	// +optional
	ActiveSince *metav1.Time `json:"activeSince,omitempty"`

	// ActiveSeconds is what the clock of spec.activeDeadlineSeconds had counted when it last stopped.
	// +optional
	ActiveSeconds int64 `json:"activeSeconds,omitempty"`

	// Compute is what the current or last attempt calculates on, such as "2 threads" or "nvidia.com/gpu". A run that
	// resumes on the same ends with the same bits as one that was never interrupted.
	// +optional
	Compute string `json:"compute,omitempty"`

	// FirstStepTime is when the first optimiser step of the job was done.
	// +optional
	FirstStepTime *metav1.Time `json:"firstStepTime,omitempty"`

	// RetryTime is when the next attempt begins, while State is Restarting.
	// +optional
	RetryTime *metav1.Time `json:"retryTime,omitempty"`

	// CompletionTime is when the job succeeded or failed.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
}

// ProgressStatus is how far the training has come.
type ProgressStatus struct {
	// Epoch reads 12/20: epochs done of all epochs.
	// +optional
	Epoch string `json:"epoch,omitempty"`

	// Step is the number of optimiser steps done.
	// +optional
	Step int64 `json:"step,omitempty"`

	// Loss is the mean training loss of the last epoch, or of the current one until the first has ended.
	// +optional
	Loss string `json:"loss,omitempty"`

	// Accuracy is the top-1 test accuracy of the last evaluation, in percent.
	// +optional
	Accuracy string `json:"accuracy,omitempty"`

	// BestAccuracy is the highest accuracy of all evaluations, in percent.
	// +optional
	BestAccuracy string `json:"bestAccuracy,omitempty"`

	// ImagesPerSecond is the training throughput of the last epoch.
	// +optional
	ImagesPerSecond string `json:"imagesPerSecond,omitempty"`

	// ETA is the time left, as 1h2m.
	// +optional
	ETA string `json:"eta,omitempty"`
}

// CheckpointStatus is a checkpoint that is complete in the bucket.
type CheckpointStatus struct {
	// Name is <epoch>-<step>-a<attempt>.
	Name string `json:"name"`
	// URI of its folder.
	URI string `json:"uri"`
	// Time at which it was committed.
	Time metav1.Time `json:"time"`
}

// ArtifactsStatus says where the results are.
type ArtifactsStatus struct {
	// URI of the job's folder in the bucket.
	URI string `json:"uri"`
	// Model is the trained network in safetensors format.
	// +optional
	Model string `json:"model,omitempty"`
	// Metrics is the JSONL file with one line an epoch.
	// +optional
	Metrics string `json:"metrics,omitempty"`
	// Report is an HTML page with the results and curves; report.json beside it has the same for programs.
	// +optional
	Report string `json:"report,omitempty"`
}
