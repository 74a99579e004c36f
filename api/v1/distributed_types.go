package v1

// DistributedSpec trains one network in several processes that share every batch, as PyTorch's
// DistributedDataParallel does. Batch normalisation sees the images of one process, so the number of processes decides
// the numbers, and cannot change.
type DistributedSpec struct {
	// pods that train together. Each has the resources of spec.resources. They start, stop and are repeated together.
	// Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Pods int32 `json:"pods,omitempty"`

	// processesPerPod is the number of processes in each pod, which divide its CPUs among them. Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	ProcessesPerPod int32 `json:"processesPerPod,omitempty"`

	// encryption of what the pods tell each other, by TLS with certificates that they make for each attempt. Without it
	// training is faster, and whoever reaches the pods' ports can read and change what they say: for a network that is
	// trusted, or encrypted itself. Default: true.
	// +optional
	// +kubebuilder:default=true
	Encryption *bool `json:"encryption,omitempty"`
}

// Encrypted reports whether the pods use TLS among each other.
func (d *DistributedSpec) Encrypted() bool {
	return d == nil || d.Encryption == nil || *d.Encryption
}

// Processes of the job, over all pods: 1 without spec.distributed.
func (s ResNetTrainingJobSpec) Processes() int32 {
	if s.Distributed == nil {
		return 1
	}
	return s.Pods() * max(1, s.Distributed.ProcessesPerPod)
}

// Pods of an attempt: 1 without spec.distributed.
func (s ResNetTrainingJobSpec) Pods() int32 {
	if s.Distributed == nil {
		return 1
	}
	return max(1, s.Distributed.Pods)
}
