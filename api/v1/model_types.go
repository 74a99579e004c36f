package v1

// Architecture of a network, as in "Deep Residual Learning for Image Recognition" (He et al., 2015).
// +kubebuilder:validation:Enum=ResNet18
type Architecture string

// ResNet18 has four stages of two basic blocks with 64, 128, 256 and 512 channels.
const ResNet18 Architecture = "ResNet18"

// Stem is the part of the network before the first stage.
// +kubebuilder:validation:Enum=CIFAR
type Stem string

// StemCIFAR is one 3×3 convolution of stride 1 without max-pooling, for images of about 32×32 pixels.
const StemCIFAR Stem = "CIFAR"

// ModelSpec is the network. The number of input channels and of classes follows from the data set.
type ModelSpec struct {
	// Architecture of the network.
	// +optional
	// +kubebuilder:default=ResNet18
	Architecture Architecture `json:"architecture,omitempty"`

	// Stem of the network.
	// +optional
	// +kubebuilder:default=CIFAR
	Stem Stem `json:"stem,omitempty"`
}
