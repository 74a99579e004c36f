package v1

// Architecture of a network, as in "Deep Residual Learning for Image Recognition" (He et al., 2015), table 1.
// +kubebuilder:validation:Enum=ResNet18;ResNet34;ResNet50;ResNet101;ResNet152
type Architecture string

// Values of ModelSpec.Architecture, which explains them.
const (
	ResNet18  Architecture = "ResNet18"
	ResNet34  Architecture = "ResNet34"
	ResNet50  Architecture = "ResNet50"
	ResNet101 Architecture = "ResNet101"
	ResNet152 Architecture = "ResNet152"
)

// Stem is the part of the network before the first stage.
// +kubebuilder:validation:Enum=CIFAR;ImageNet
type Stem string

// Values of ModelSpec.Stem, which explains them.
const (
	StemCIFAR    Stem = "CIFAR"
	StemImageNet Stem = "ImageNet"
)

// Normalization is the layer behind every convolution.
// +kubebuilder:validation:Enum=BatchNorm;GroupNorm;LayerNorm;TinyBatchNorm
type Normalization string

// Values of ModelSpec.Normalization, which explains them.
const (
	BatchNorm     Normalization = "BatchNorm"
	GroupNorm     Normalization = "GroupNorm"
	LayerNorm     Normalization = "LayerNorm"
	TinyBatchNorm Normalization = "TinyBatchNorm"
)

// Activation is the function behind every normalisation, as in torch.nn with its default arguments.
// +kubebuilder:validation:Enum=ReLU;LeakyReLU;SiLU;GELU;Hardswish
type Activation string

// Values of ModelSpec.Activation, which explains them.
const (
	ReLU      Activation = "ReLU"
	LeakyReLU Activation = "LeakyReLU"
	SiLU      Activation = "SiLU"
	GELU      Activation = "GELU"
	Hardswish Activation = "Hardswish"
)

// ModelSpec is the network. Parameters have torchvision's names and PyTorch's initial distribution.
//
// +kubebuilder:validation:XValidation:rule="!has(self.normalizationGroups) || self.normalization == 'GroupNorm'",fieldPath=".normalizationGroups",message="is for normalization: GroupNorm only"
// +kubebuilder:validation:XValidation:rule="!has(self.freezeStatisticsAfter) || self.normalization == 'TinyBatchNorm'",fieldPath=".freezeStatisticsAfter",message="is for normalization: TinyBatchNorm only"
type ModelSpec struct {
	// architecture of the network, as in "Deep Residual Learning for Image Recognition" (He et al., 2015), table 1.
	// Default: ResNet18.
	//   - ResNet18: four stages of 2, 2, 2 and 2 basic blocks with 64, 128, 256 and 512 channels.
	//   - ResNet34: four stages of 3, 4, 6 and 3 basic blocks with 64, 128, 256 and 512 channels.
	//   - ResNet50: four stages of 3, 4, 6 and 3 bottleneck blocks with 256, 512, 1024 and 2048 channels. The stride is
	//     in the 3×3 convolution, as in torchvision (ResNet v1.5).
	//   - ResNet101: as ResNet50, but 3, 4, 23 and 3 blocks.
	//   - ResNet152: as ResNet50, but 3, 8, 36 and 3 blocks.
	// +optional
	// +kubebuilder:default=ResNet18
	Architecture Architecture `json:"architecture,omitempty"`

	// stem is the part of the network before the first stage. Default: CIFAR for images whose shorter side has up to 64
	// pixels, else ImageNet.
	//   - CIFAR: one 3×3 convolution of stride 1 without max-pooling, for images of about 32×32 pixels. On large images
	//     it costs about 16 times the time and memory of ImageNet.
	//   - ImageNet: a 7×7 convolution of stride 2 and a 3×3 max-pooling of stride 2, for images of 96×96 pixels or
	//     more.
	// +optional
	Stem Stem `json:"stem,omitempty"`

	// widthMultiplier scales the channels of every stage; each is rounded to a multiple of 8. Default: 1. In bottleneck
	// blocks these are the channels of the 3×3 convolution; behind a block there are four times as many.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="self >= 0.125",message="must be at least 0.125"
	// +kubebuilder:validation:Maximum=8
	WidthMultiplier float64 `json:"widthMultiplier,omitempty"`

	// normalization is the layer behind every convolution. Default: BatchNorm.
	//   - BatchNorm: torch.nn.BatchNorm2d.
	//   - GroupNorm: torch.nn.GroupNorm with normalizationGroups groups.
	//   - LayerNorm: torch.nn.GroupNorm with one group: all channels and pixels of an image share mean and variance.
	//   - TinyBatchNorm: BatchNorm2d whose running statistics are frozen after the share freezeStatisticsAfter of all
	//     steps, and used in place of the batch's from then on. The rest of the training sees the very affine map that
	//     an export folds into the convolution, so that a small device computes no normalisation at all.
	// +optional
	// +kubebuilder:default=BatchNorm
	Normalization Normalization `json:"normalization,omitempty"`

	// normalizationGroups of GroupNorm; must divide the channels of every stage. Default: 32, or if that does not divide
	// them, the largest power of two that does.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=512
	NormalizationGroups *int32 `json:"normalizationGroups,omitempty"`

	// freezeStatisticsAfter is the share of all steps after which TinyBatchNorm freezes its statistics. Default: 0.75.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	FreezeStatisticsAfter *float64 `json:"freezeStatisticsAfter,omitempty"`

	// activation is the function behind every normalisation, as in torch.nn with its default arguments. Default: ReLU.
	//   - ReLU: max(0, x).
	//   - LeakyReLU: x, and 0.01 x below 0.
	//   - SiLU: x · sigmoid(x).
	//   - GELU: x · Φ(x), exactly, not by tanh.
	//   - Hardswish: x · min(max(0, x + 3), 6) / 6.
	// +optional
	// +kubebuilder:default=ReLU
	Activation Activation `json:"activation,omitempty"`

	// zeroInitResidual sets the weight of the last normalisation of every block to 0 at first, so that a block begins
	// as the identity (Goyal et al., 2017; torchvision's zero_init_residual). Default: false.
	// +optional
	ZeroInitResidual bool `json:"zeroInitResidual,omitempty"`

	// numClasses is the number of outputs. Default, and least: the classes of the data set.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=100000
	NumClasses *int32 `json:"numClasses,omitempty"`

	// inputChannels of the network. Default: those of the data set.
	//   - 1: grey; RGB images are made grey by luminance (torchvision's Grayscale).
	//   - 3: RGB; grey images are repeated.
	// +optional
	// +kubebuilder:validation:Enum=1;3
	InputChannels *int32 `json:"inputChannels,omitempty"`
}
