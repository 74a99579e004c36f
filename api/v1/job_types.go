package v1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ResNetTrainingJob trains one ResNet and leaves the model, its curves and a report in a bucket.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=resnettrainingjobs,singular=resnettrainingjob,shortName=resnetjobs;resnetjob,categories=all
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Epoch",type=string,JSONPath=`.status.progress.epoch`
// +kubebuilder:printcolumn:name="Loss",type=string,JSONPath=`.status.progress.loss`
// +kubebuilder:printcolumn:name="Accuracy",type=string,JSONPath=`.status.progress.accuracy`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Best",type=string,priority=1,JSONPath=`.status.progress.bestAccuracy`
// +kubebuilder:printcolumn:name="Images/s",type=string,priority=1,JSONPath=`.status.progress.imagesPerSecond`
// +kubebuilder:printcolumn:name="ETA",type=string,priority=1,JSONPath=`.status.progress.eta`
// +kubebuilder:printcolumn:name="Attempt",type=integer,priority=1,JSONPath=`.status.attempt`
// +kubebuilder:printcolumn:name="Checkpoint",type=string,priority=1,JSONPath=`.status.checkpoint.name`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 50 lower-case letters, digits and '-': the names of pods are made from it"
type ResNetTrainingJob struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ResNetTrainingJobSpec `json:"spec"`
	// +optional
	Status ResNetTrainingJobStatus `json:"status,omitempty"`
}

// ResNetTrainingJobList is a list of ResNetTrainingJobs.
//
// +kubebuilder:object:root=true
type ResNetTrainingJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ResNetTrainingJob `json:"items"`
}

// ResNetTrainingJobSpec says what to train, on which data, and where the result goes.
//
// What decides the numbers (model, dataset, training, storage) cannot change once the job exists. The image, the
// resources and the retry policy may: they apply from the next attempt on.
//
// +kubebuilder:validation:XValidation:rule="!has(self.training.earlyStopping) || (has(self.dataset.validationFraction) && self.dataset.validationFraction > 0.0)",fieldPath=".training.earlyStopping",message="needs spec.dataset.validationFraction above 0: it must not look at the test set"
// +kubebuilder:validation:XValidation:rule="has(self.resumeFrom) == has(oldSelf.resumeFrom)",fieldPath=".resumeFrom",message="is immutable: create another job"
// +kubebuilder:validation:XValidation:rule="!has(self.training.precision) || self.training.precision != 'FP16' || (has(self.resources.gpus) && self.resources.gpus > 0)",fieldPath=".training.precision",message="FP16 needs a GPU (spec.resources.gpus); on a CPU use BF16 or Auto"
type ResNetTrainingJobSpec struct {
	// Model is the network. Default: ResNet18 with the stem for small images.
	// +optional
	// +kubebuilder:default={}
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Model ModelSpec `json:"model,omitempty"`

	// Dataset is what the network is trained and tested on.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Dataset DatasetSpec `json:"dataset"`

	// Training is the recipe.
	// +optional
	// +kubebuilder:default={}
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Training TrainingSpec `json:"training,omitempty"`

	// Storage is where checkpoints, metrics and the model are written, and the account that data is read with.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Storage StorageSpec `json:"storage"`

	// Checkpoint says when the state of the training is saved, and how much of it is kept.
	// +optional
	// +kubebuilder:default={}
	Checkpoint CheckpointSpec `json:"checkpoint,omitempty"`

	// ResumeFrom begins with the weights, or the whole state, of another training.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	ResumeFrom *ResumeFromSpec `json:"resumeFrom,omitempty"`

	// Export says in which formats the trained model is written.
	// +optional
	// +kubebuilder:default={}
	Export ExportSpec `json:"export,omitempty"`

	// Resources of one trainer pod.
	// +optional
	// +kubebuilder:default={}
	Resources ResourcesSpec `json:"resources,omitempty"`

	// Image of the trainer. Default: the image that the operator was installed with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Image string `json:"image,omitempty"`

	// ImagePullPolicy of the trainer's image. Default: as Kubernetes chooses by the image's tag.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// Suspend stops the pods after they saved a checkpoint; setting it back resumes from there.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Retry says how often and how soon a failed attempt is repeated.
	// +optional
	// +kubebuilder:default={}
	Retry RetrySpec `json:"retry,omitempty"`
}

// ResourcesSpec is what one trainer pod asks for. Requests equal limits, so that a pod is never slowed down by its
// neighbours; the number of compute threads follows the CPU limit.
type ResourcesSpec struct {
	// GPUs of the pod (resource nvidia.com/gpu). 0 trains on the CPU.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	GPUs int32 `json:"gpus,omitempty"`

	// CPU of the pod, such as 2 or 1500m.
	// +optional
	// +kubebuilder:default="2"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be more than 0"
	CPU *resource.Quantity `json:"cpu,omitempty"`

	// Memory of the pod, such as 4Gi.
	// +optional
	// +kubebuilder:default="4Gi"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be more than 0"
	Memory *resource.Quantity `json:"memory,omitempty"`
}

// RetrySpec limits retries. Disruptions (preemption, eviction, node drain, SIGTERM) are never counted as failures.
type RetrySpec struct {
	// MaxFailures is the number of failed attempts after which the job is failed.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxFailures int32 `json:"maxFailures,omitempty"`

	// BackoffSeconds is the wait after the first failure; it doubles with each further one, up to ten minutes.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=600
	BackoffSeconds *int32 `json:"backoffSeconds,omitempty"`
}
