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
// +kubebuilder:printcolumn:name="Epoch",type=string,JSONPath=`.status.display.epoch`
// +kubebuilder:printcolumn:name="Loss",type=string,JSONPath=`.status.display.loss`
// +kubebuilder:printcolumn:name="Accuracy",type=string,JSONPath=`.status.display.accuracy`
// +kubebuilder:printcolumn:name="ETA",type=string,JSONPath=`.status.display.eta`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Best",type=string,priority=1,JSONPath=`.status.display.bestAccuracy`
// +kubebuilder:printcolumn:name="Images/s",type=number,priority=1,JSONPath=`.status.progress.imagesPerSecond`
// +kubebuilder:printcolumn:name="Pods",type=integer,priority=1,JSONPath=`.spec.distributed.pods`
// +kubebuilder:printcolumn:name="Attempt",type=integer,priority=1,JSONPath=`.status.attempt`
// +kubebuilder:printcolumn:name="Checkpoint",type=string,priority=1,JSONPath=`.status.checkpoint.name`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 50 lower-case letters, digits and '-': the names of pods are made from it"
type ResNetTrainingJob struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what to train, on which data, and where the result goes. What decides the numbers (model, dataset,
	// training, storage) cannot change once the job exists. Image, resources and template may: they apply from the next
	// attempt on, and an attempt that has not started yet is replaced at once. Deadlines and the retry policy apply
	// immediately.
	Spec ResNetTrainingJobSpec `json:"spec"`
	// status is what the operator knows about the job. It is written by the operator only.
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
// +kubebuilder:validation:XValidation:rule="!has(self.template) || !has(self.template.env) || !has(self.storage.s3) || !has(self.storage.s3.credentialsSecret) || self.template.env.all(e, !(e.name in ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']))",fieldPath=".template.env",message="AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN come from spec.storage.s3.credentialsSecret: name them in one place only"
// +kubebuilder:validation:XValidation:rule="!has(self.training.earlyStopping) || (has(self.dataset.validationFraction) && self.dataset.validationFraction > 0.0) || self.dataset.format == 'ImageFolder'",fieldPath=".training.earlyStopping",message="needs spec.dataset.validationFraction above 0, or an ImageFolder with val/ beside test/: it must not look at the test set"
// +kubebuilder:validation:XValidation:rule="!has(self.training.schedule.type) || self.training.schedule.type != 'ReduceLROnPlateau' || (has(self.dataset.validationFraction) && self.dataset.validationFraction > 0.0) || self.dataset.format == 'ImageFolder'",fieldPath=".training.schedule.type",message="ReduceLROnPlateau needs spec.dataset.validationFraction above 0, or an ImageFolder with val/ beside test/: it must not look at the test set"
// +kubebuilder:validation:XValidation:rule="has(self.managedBy) == has(oldSelf.managedBy)",fieldPath=".managedBy",message="is immutable: create another job"
// +kubebuilder:validation:XValidation:rule="has(self.resumeFrom) == has(oldSelf.resumeFrom)",fieldPath=".resumeFrom",message="is immutable: create another job"
// +kubebuilder:validation:XValidation:rule="has(self.distributed) == has(oldSelf.distributed)",fieldPath=".distributed",message="is immutable: create another job"
// +kubebuilder:validation:XValidation:rule="!has(self.distributed) || !has(self.resources.gpus) || self.resources.gpus == 0 || self.distributed.processesPerPod == 1",fieldPath=".distributed.processesPerPod",message="is for CPUs: on GPUs there is one process for each of spec.resources.gpus"
// +kubebuilder:validation:XValidation:rule="!has(self.distributed) || !has(self.resources.gpus) || self.resources.gpus == 0 || self.distributed.normalization == 'PerProcess'",fieldPath=".distributed.normalization",message="must be PerProcess on GPUs (spec.resources.gpus)"
// +kubebuilder:validation:XValidation:rule="!has(self.distributed) || !has(self.resources.gpus) || self.resources.gpus == 0 || self.distributed.pods < 2 || !self.distributed.encryption",fieldPath=".distributed.encryption",message="must be false with several pods of GPUs, whose exchange (NCCL) cannot be encrypted: keep others away from it by a NetworkPolicy"
// +kubebuilder:validation:XValidation:rule="!has(self.resources.gpus) || self.resources.gpus < 2 || (has(self.distributed) && self.distributed.pods < 1) || (self.training.batchSize % (self.resources.gpus * (has(self.distributed) ? self.distributed.pods : 1)) == 0 && self.training.batchSize >= 2 * self.resources.gpus * (has(self.distributed) ? self.distributed.pods : 1))",fieldPath=".training.batchSize",message="must be a multiple of spec.resources.gpus × spec.distributed.pods, with at least two images for each GPU"
// +kubebuilder:validation:XValidation:rule="!has(self.distributed) || self.distributed.pods * self.distributed.processesPerPod < 1 || (self.training.batchSize % (self.distributed.pods * self.distributed.processesPerPod) == 0 && (self.distributed.normalization == 'Synchronized' || self.training.batchSize >= 2 * self.distributed.pods * self.distributed.processesPerPod))",fieldPath=".training.batchSize",message="must be a multiple of spec.distributed.pods × processesPerPod, with at least two images for each process, or one with normalization: Synchronized"
// +kubebuilder:validation:XValidation:rule="!has(self.training.quantization) || !has(self.training.precision) || self.training.precision != 'FP16'",fieldPath=".training.quantization",message="needs spec.training.precision Auto, BF16 or FP32: FP16 does not hold the sums of integers"
// +kubebuilder:validation:XValidation:rule="!has(self.training.quantization) || !has(self.model) || !has(self.model.normalization) || self.model.normalization in ['BatchNorm', 'TinyBatchNorm']",fieldPath=".training.quantization",message="needs spec.model.normalization BatchNorm or TinyBatchNorm, which can be folded into a convolution"
// +kubebuilder:validation:XValidation:rule="!has(self.training.quantization) || !has(self.model) || !has(self.model.activation) || self.model.activation in ['ReLU', 'LeakyReLU']",fieldPath=".training.quantization",message="needs spec.model.activation ReLU or LeakyReLU, of which there is an int8 form"
// +kubebuilder:validation:XValidation:rule="!has(self.training.evaluation.preciseBNBatches) || self.training.evaluation.preciseBNBatches == 0 || !has(self.model) || !has(self.model.normalization) || self.model.normalization in ['BatchNorm', 'TinyBatchNorm']",fieldPath=".training.evaluation.preciseBNBatches",message="needs spec.model.normalization BatchNorm or TinyBatchNorm, which have running statistics"
// +kubebuilder:validation:XValidation:rule="!has(self.training.evaluation.preciseBNBatches) || self.training.evaluation.preciseBNBatches == 0 || !has(self.training.quantization)",fieldPath=".training.evaluation.preciseBNBatches",message="cannot go with spec.training.quantization, which observes its ranges with the running statistics of the training"
// +kubebuilder:validation:XValidation:rule="!has(self.training.precision) || self.training.precision != 'FP16' || (has(self.resources.gpus) && self.resources.gpus > 0)",fieldPath=".training.precision",message="FP16 needs a GPU (spec.resources.gpus); on a CPU use BF16 or Auto"
// +kubebuilder:validation:XValidation:rule="!has(self.training.augmentation.randomResizedCrop) || self.dataset.format != 'ImageFolder' || has(self.dataset.imageSize)",fieldPath=".dataset.imageSize",message="is required for an ImageFolder with spec.training.augmentation.randomResizedCrop: the size of what is cut out"
type ResNetTrainingJobSpec struct {
	// model is the network.
	// +optional
	// +kubebuilder:default={}
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Model ModelSpec `json:"model,omitempty"`

	// dataset is what the network is trained and tested on.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Dataset DatasetSpec `json:"dataset"`

	// training is the recipe.
	// +optional
	// +kubebuilder:default={}
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Training TrainingSpec `json:"training,omitempty"`

	// storage is where checkpoints, metrics and the model are written, and the account that data is read with.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Storage StorageSpec `json:"storage"`

	// checkpoint says when the state of the training is saved, and how much of it is kept.
	// +optional
	// +kubebuilder:default={}
	Checkpoint CheckpointSpec `json:"checkpoint,omitempty"`

	// resumeFrom begins with the weights, or the whole state, of another training. Default: random weights.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	ResumeFrom *ResumeFromSpec `json:"resumeFrom,omitempty"`

	// export says in which formats the trained model is written.
	// +optional
	// +kubebuilder:default={}
	Export ExportSpec `json:"export,omitempty"`

	// resources of one trainer pod.
	// +optional
	// +kubebuilder:default={}
	Resources ResourcesSpec `json:"resources,omitempty"`

	// distributed trains in several pods, or in several processes of a pod, on CPUs. It cannot change. Default: one
	// process.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	Distributed *DistributedSpec `json:"distributed,omitempty"`

	// image of the trainer. Default: the image that the operator was installed with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Image string `json:"image,omitempty"`

	// imagePullPolicy of the trainer's image. Default: as Kubernetes chooses by the image's tag.
	//   - Always: ask the registry at every start.
	//   - IfNotPresent: pull if the node has no such image.
	//   - Never: the image is on the node already.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// managedBy is the controller that looks after the job: a name such as acme.io/foo, as in a Job of Kubernetes. A job
	// that names another one is left alone wholly: this operator makes no pods for it, writes no status and counts it in
	// no metric. MultiKueue sets kueue.x-k8s.io/multikueue on a job that it sends to another cluster. It cannot change.
	// Default: training.resnet-operator.dev/resnet-operator, this operator.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[-A-Za-z0-9._~%!$&()*+,;=:@/]+$')",message="must be a domain and a path, such as kueue.x-k8s.io/multikueue"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: create another job"
	ManagedBy *string `json:"managedBy,omitempty"`

	// suspend stops the pods after they saved a checkpoint; setting it back resumes from there. Default: false.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// retry says how often and how soon a failed attempt is repeated.
	// +optional
	// +kubebuilder:default={}
	Retry RetrySpec `json:"retry,omitempty"`

	// startDeadlineSeconds is the longest time that an attempt may wait for its pod to run: for a node, the image, a
	// Secret, quota. Then the job has failed. Time in a queue (State Queued) does not count. Default: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=10
	StartDeadlineSeconds *int32 `json:"startDeadlineSeconds,omitempty"`

	// activeDeadlineSeconds is the longest time that the job may take, from its first attempt on. Then its pod is stopped
	// after saving a checkpoint, and the job has failed. The clock stands still while the job is Suspended or Queued.
	// Default: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`

	// progressDeadlineSeconds is the longest time that a running pod may spend without an optimiser step or a new phase
	// of its work. Then it is taken for hung, and replaced; that counts as a failure. It must be longer than reading
	// the data, one evaluation, and saving the model. 0 turns it off. Default: 1800.
	// +optional
	// +kubebuilder:default=1800
	// +kubebuilder:validation:Maximum=604800
	// +kubebuilder:validation:XValidation:rule="self == 0 || self >= 10",message="must be 0, for none, or at least 10"
	ProgressDeadlineSeconds *int32 `json:"progressDeadlineSeconds,omitempty"`

	// ttlSecondsAfterFinished is the time after which a finished job is deleted with its pods. What is in the bucket
	// stays. Default: never.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// keepLogs puts the last lines of the log of an attempt that crashed into the message of its condition, and the
	// whole log of every attempt into the bucket. Default: true.
	// +optional
	// +kubebuilder:default=true
	KeepLogs *bool `json:"keepLogs,omitempty"`

	// template is what a platform adds to the trainer's pod: where it runs, who it is, volumes, variables. Default:
	// nothing.
	// +optional
	Template *PodTemplate `json:"template,omitempty"`
}

// ResourcesSpec is what one trainer pod asks for. Requests equal limits, so that a pod is never slowed down by its
// neighbours; the number of compute threads follows the CPU limit.
//
// +kubebuilder:validation:XValidation:rule="!has(self.gpus) || !has(oldSelf.gpus) || self.gpus == oldSelf.gpus || (self.gpus < 2 && oldSelf.gpus < 2)",fieldPath=".gpus",message="is immutable above 1, since it is the number of processes: create another job"
type ResourcesSpec struct {
	// gpus of the pod. 0 trains on the CPU. With several, one process for each shares every batch, as with
	// spec.distributed; their number decides the numbers, and cannot change then. Default: 0.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	GPUs int32 `json:"gpus,omitempty"`

	// gpuResource is the name under which nodes offer GPUs, such as nvidia.com/mig-1g.10gb for a part of one. Default:
	// nvidia.com/gpu.
	// +optional
	// +kubebuilder:default=nvidia.com/gpu
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",message="must be such as nvidia.com/gpu"
	GPUResource string `json:"gpuResource,omitempty"`

	// resourceClaims ask for devices by dynamic resource allocation. If there are any, they bring the GPU, and
	// gpuResource is not asked for. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=4
	// +listType=map
	// +listMapKey=name
	ResourceClaims []ResourceClaim `json:"resourceClaims,omitempty"`

	// cpu of the pod, such as 2 or 1500m. A run that resumes with another number of threads, which is this rounded up,
	// goes on well, but its weights differ from those of an undisturbed run in the last digits. Default: 2.
	// +optional
	// +kubebuilder:default="2"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be more than 0"
	CPU *resource.Quantity `json:"cpu,omitempty"`

	// memory of the pod, such as 4Gi. Default: 4Gi.
	// +optional
	// +kubebuilder:default="4Gi"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be more than 0"
	Memory *resource.Quantity `json:"memory,omitempty"`

	// ephemeralStorage of the pod, for data sets that are kept on the node's disk, such as 10Gi. Default: none is asked
	// for, and the node sets the limit.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be more than 0"
	EphemeralStorage *resource.Quantity `json:"ephemeralStorage,omitempty"`
}

// RetrySpec limits retries. Disruptions (preemption, eviction, node drain, SIGTERM) are never counted as failures.
type RetrySpec struct {
	// maxFailures is the number of failed attempts after which the job is failed. Default: 3.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxFailures int32 `json:"maxFailures,omitempty"`

	// backoffSeconds is the wait after the first failure; it doubles with each further one, up to ten minutes. Default:
	// 10.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=600
	BackoffSeconds *int32 `json:"backoffSeconds,omitempty"`
}
