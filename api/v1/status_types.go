package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// State summarises where a job is in its life. The set is open: see ResNetTrainingJobStatus.State.
type State string

// Values of ResNetTrainingJobStatus.State, which explains them.
const (
	StatePending    State = "Pending"
	StateQueued     State = "Queued"
	StateStarting   State = "Starting"
	StateRunning    State = "Running"
	StateRestarting State = "Restarting"
	StateSuspended  State = "Suspended"
	StateSucceeded  State = "Succeeded"
	StateFailed     State = "Failed"
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

// ResNetTrainingJobStatus is what the operator knows about a job. Figures are plain numbers, times are RFC 3339 in UTC,
// and spans of time are in seconds. It may get more fields; clients ignore those that they do not know.
type ResNetTrainingJobStatus struct {
	// observedGeneration is the generation of the spec that this status belongs to.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// state summarises the conditions. More values may come: a client takes one that it does not know for a job that is
	// not finished, unless the condition Complete or Failed is True.
	//   - Pending: no pod can start; the condition Progressing says why.
	//   - Queued: a queueing system holds the job back until there is quota.
	//   - Starting: there is a pod that does not train yet: it is scheduled, pulls its image or reads the data.
	//   - Running: the pod trains.
	//   - Restarting: an attempt is over, and the next one begins at retryTime.
	//   - Suspended: stopped by spec.suspend.
	//   - Succeeded: trained to the end, and the model is saved. Final.
	//   - Failed: will not be tried again. Final.
	// +optional
	State State `json:"state,omitempty"`

	// conditions of the job, of the types Suspended, Progressing, Complete and Failed. More types and reasons may come.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// attempt is the number of the current or last attempt, from 1.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// podName is the pod of the current or last attempt, once its container has run. An attempt ends with its pod.
	// +optional
	PodName string `json:"podName,omitempty"`

	// failures is the number of attempts that failed.
	// +optional
	Failures int32 `json:"failures,omitempty"`

	// disruptions is the number of attempts that were ended from outside; they cost no retry.
	// +optional
	Disruptions int32 `json:"disruptions,omitempty"`

	// progress of the current or last attempt, in numbers.
	// +optional
	Progress *ProgressStatus `json:"progress,omitempty"`

	// display is progress as the columns of kubectl get show it. It is for people: the texts may change in any release.
	// +optional
	Display *DisplayStatus `json:"display,omitempty"`

	// checkpoint that the next attempt would resume from.
	// +optional
	Checkpoint *CheckpointStatus `json:"checkpoint,omitempty"`

	// artifacts of a finished job.
	// +optional
	Artifacts *ArtifactsStatus `json:"artifacts,omitempty"`

	// startTime is when the first attempt was created.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// attemptStartTime is when the current or last attempt was created.
	// +optional
	AttemptStartTime *metav1.Time `json:"attemptStartTime,omitempty"`

	// activeStartTime is when the clock of spec.activeDeadlineSeconds last began to run; it is empty while the clock
	// stands.
	// +optional
	ActiveStartTime *metav1.Time `json:"activeStartTime,omitempty"`

	// activeSeconds is what the clock of spec.activeDeadlineSeconds had counted when it last stopped.
	// +optional
	ActiveSeconds int64 `json:"activeSeconds,omitempty"`

	// compute is what the current or last attempt calculates on, such as "2 threads" or "nvidia.com/gpu". A run that
	// resumes on the same ends with the same bits as one that was never interrupted.
	// +optional
	Compute string `json:"compute,omitempty"`

	// firstStepTime is when the first optimiser step of the job was done.
	// +optional
	FirstStepTime *metav1.Time `json:"firstStepTime,omitempty"`

	// retryTime is when the next attempt begins, while state is Restarting.
	// +optional
	RetryTime *metav1.Time `json:"retryTime,omitempty"`

	// completionTime is when the job succeeded or failed.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
}

// ProgressStatus is how far the training has come. What is not known yet is left out.
// +structType=atomic
type ProgressStatus struct {
	// epoch is the number of epochs done.
	// +optional
	Epoch int32 `json:"epoch"`

	// epochs is the number of epochs planned, spec.training.epochs. Early stopping may end the job before.
	// +optional
	Epochs int32 `json:"epochs"`

	// step is the number of optimiser steps done, over all epochs.
	// +optional
	Step int64 `json:"step"`

	// steps is the number of optimiser steps planned, over all epochs.
	// +optional
	Steps int64 `json:"steps"`

	// loss is the mean training loss of the current epoch so far, or of the last one until a step of the next is known;
	// four decimals.
	// +optional
	Loss *float64 `json:"loss,omitempty"`

	// accuracy is the top-1 test accuracy of the last evaluation, from 0 to 1; four decimals.
	// +optional
	Accuracy *float64 `json:"accuracy,omitempty"`

	// int8Accuracy is accuracy with weights and activations quantised to 8 bits, once training.quantization has begun.
	// +optional
	Int8Accuracy *float64 `json:"int8Accuracy,omitempty"`

	// bestAccuracy is the highest accuracy of all evaluations, from 0 to 1; four decimals. With training.quantization it is
	// that of the quantised network, once it has begun.
	// +optional
	BestAccuracy *float64 `json:"bestAccuracy,omitempty"`

	// imagesPerSecond is the training throughput of the last epoch; whole from 10 on, below that two decimals.
	// +optional
	ImagesPerSecond float64 `json:"imagesPerSecond,omitempty"`

	// etaSeconds is the time left when this was written, in seconds.
	// +optional
	ETASeconds int64 `json:"etaSeconds,omitempty"`
}

// DisplayStatus is progress for people.
// +structType=atomic
type DisplayStatus struct {
	// epoch reads 12/20: epochs done of those planned.
	// +optional
	Epoch string `json:"epoch,omitempty"`

	// loss reads 0.2345.
	// +optional
	Loss string `json:"loss,omitempty"`

	// accuracy reads 91.42%.
	// +optional
	Accuracy string `json:"accuracy,omitempty"`

	// bestAccuracy reads 91.50%.
	// +optional
	BestAccuracy string `json:"bestAccuracy,omitempty"`

	// eta reads 1h2m3s.
	// +optional
	ETA string `json:"eta,omitempty"`
}

// CheckpointStatus is a checkpoint that is complete in the bucket.
// +structType=atomic
type CheckpointStatus struct {
	// name is <epoch>-<step>-a<attempt>.
	Name string `json:"name"`

	// epoch is the number of epochs done in it.
	// +optional
	Epoch int32 `json:"epoch"`

	// step is the number of optimiser steps done in it, over all epochs.
	// +optional
	Step int64 `json:"step"`

	// uri of its folder.
	URI string `json:"uri"`

	// time at which it was committed.
	Time metav1.Time `json:"time"`
}

// ArtifactsStatus says where the results are.
// +structType=atomic
type ArtifactsStatus struct {
	// uri of the job's folder in the bucket.
	URI string `json:"uri"`

	// model is the trained network in safetensors format.
	// +optional
	Model string `json:"model,omitempty"`

	// metrics is the JSONL file with one line an epoch.
	// +optional
	Metrics string `json:"metrics,omitempty"`

	// report is an HTML page with the results and curves; report.json beside it has the same for programs.
	// +optional
	Report string `json:"report,omitempty"`
}

// Explanation is the condition that says where the job stands: why it failed, or what it waits for; nil without one.
func (s *ResNetTrainingJobStatus) Explanation() *metav1.Condition {
	for _, kind := range []string{ConditionFailed, ConditionComplete, ConditionSuspended, ConditionProgressing} {
		for i := range s.Conditions {
			c := &s.Conditions[i]
			if c.Type == kind && (c.Status == metav1.ConditionTrue || kind == ConditionProgressing) {
				return c
			}
		}
	}
	return nil
}
