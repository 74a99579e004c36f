package v1

// DistributedSpec trains one network in several processes that share every batch, as PyTorch's
// DistributedDataParallel does. The number of processes decides the numbers, and cannot change.
type DistributedSpec struct {
	// pods that train together. Each has the resources of spec.resources. They start, stop and are repeated together.
	// Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Pods int32 `json:"pods,omitempty"`

	// processesPerPod is the number of processes in each pod, which divide its CPUs among them. It is for CPUs: on GPUs there is
	// one process for each GPU of spec.resources.gpus. Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	ProcessesPerPod int32 `json:"processesPerPod,omitempty"`

	// encryption of what the pods tell each other, by TLS with certificates that they make for each attempt. Without it
	// training is faster, and whoever reaches the pods' ports can read and change what they say: for a network that is
	// trusted, or encrypted itself. What GPUs exchange (NCCL) cannot be encrypted: several pods with GPUs need false.
	// Default: true.
	// +optional
	// +kubebuilder:default=true
	Encryption *bool `json:"encryption,omitempty"`

	// normalization says whose images batch normalisation normalises together in training. GroupNorm and LayerNorm
	// normalise each image by itself: for them it changes nothing. Default: PerProcess.
	//   - PerProcess: those of one process, as DistributedDataParallel does. Each process needs at least two images of a
	//     batch.
	//   - Synchronized: those of all processes, as torch.nn.SyncBatchNorm does, so that a training has the numbers of
	//     one process but for rounding. The processes wait for each other twice in every normalisation of a step. It is
	//     for CPUs.
	// +optional
	// +kubebuilder:default=PerProcess
	Normalization DistributedNormalization `json:"normalization,omitempty"`

	// compression of gradients on their way between processes, for slow networks. Default: None.
	//   - None: they travel as float32.
	//   - BF16: they are rounded to bfloat16, half as many bytes, as PyTorch's bf16_compress_hook does, and added in
	//     float32. Weights, running statistics and losses stay float32.
	// +optional
	// +kubebuilder:default=None
	Compression Compression `json:"compression,omitempty"`
}

// Compression of gradients between processes.
// +kubebuilder:validation:Enum=None;BF16
type Compression string

// Values of DistributedSpec.Compression, which explains them.
const (
	CompressionNone Compression = "None"
	CompressionBF16 Compression = "BF16"
)

// DistributedNormalization says whose images batch normalisation normalises together.
// +kubebuilder:validation:Enum=PerProcess;Synchronized
type DistributedNormalization string

// Values of DistributedSpec.Normalization, which explains them.
const (
	PerProcess   DistributedNormalization = "PerProcess"
	Synchronized DistributedNormalization = "Synchronized"
)

// Encrypted reports whether the pods use TLS among each other.
func (d *DistributedSpec) Encrypted() bool {
	return d == nil || d.Encryption == nil || *d.Encryption
}

// Processes of the job, over all pods.
func (s ResNetTrainingJobSpec) Processes() int32 { return s.Pods() * s.ProcessesPerPod() }

// ProcessesPerPod is the number of processes in a pod: one for each GPU, or on CPUs what spec.distributed says.
func (s ResNetTrainingJobSpec) ProcessesPerPod() int32 {
	switch {
	case s.Resources.GPUs > 0:
		return s.Resources.GPUs
	case s.Distributed == nil:
		return 1
	}
	return max(1, s.Distributed.ProcessesPerPod)
}

// Synchronized reports whether batch normalisation sees the images of all processes.
func (s ResNetTrainingJobSpec) Synchronized() bool {
	return s.Distributed != nil && s.Distributed.Normalization == Synchronized
}

// CompressesGradients reports whether gradients travel as bfloat16.
func (s ResNetTrainingJobSpec) CompressesGradients() bool {
	return s.Distributed != nil && s.Distributed.Compression == CompressionBF16
}

// Pods of an attempt: 1 without spec.distributed.
func (s ResNetTrainingJobSpec) Pods() int32 {
	if s.Distributed == nil {
		return 1
	}
	return max(1, s.Distributed.Pods)
}
