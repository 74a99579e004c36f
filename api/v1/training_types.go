package v1

// TrainingSpec is the recipe. Names and meanings are PyTorch's.
type TrainingSpec struct {
	// Epochs is the number of passes over the training images.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	Epochs int32 `json:"epochs,omitempty"`

	// BatchSize is the number of images of one optimiser step. The last, smaller batch of an epoch is dropped.
	// +optional
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=65536
	BatchSize int32 `json:"batchSize,omitempty"`

	// Optimizer updates the weights.
	// +optional
	// +kubebuilder:default={}
	Optimizer OptimizerSpec `json:"optimizer,omitempty"`

	// Schedule sets the learning rate (and momentum) of every step.
	// +optional
	// +kubebuilder:default={}
	Schedule ScheduleSpec `json:"schedule,omitempty"`

	// Precision of convolutions and matrix products. The weights and the optimiser are always FP32.
	// +optional
	// +kubebuilder:default=Auto
	Precision Precision `json:"precision,omitempty"`

	// LabelSmoothing of the cross-entropy loss.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=0.99
	LabelSmoothing float64 `json:"labelSmoothing,omitempty"`

	// Augmentation of the training images.
	// +optional
	// +kubebuilder:default={}
	Augmentation AugmentationSpec `json:"augmentation,omitempty"`

	// Seed of everything random: initial weights, data order, augmentation, synthetic data.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	Seed int64 `json:"seed,omitempty"`
}

// Precision of convolutions and matrix products.
// +kubebuilder:validation:Enum=Auto;FP32;BF16
type Precision string

const (
	// PrecisionAuto is BF16 where the processor computes in it, else FP32.
	PrecisionAuto Precision = "Auto"
	// PrecisionFP32 is single precision throughout.
	PrecisionFP32 Precision = "FP32"
	// PrecisionBF16 is torch.autocast(dtype=torch.bfloat16).
	PrecisionBF16 Precision = "BF16"
)

// OptimizerType names an optimiser of torch.optim.
// +kubebuilder:validation:Enum=AdamW
type OptimizerType string

// AdamW is torch.optim.AdamW (Loshchilov and Hutter, 2017).
const AdamW OptimizerType = "AdamW"

// OptimizerSpec holds the arguments of the optimiser. The learning rate is the schedule's.
type OptimizerSpec struct {
	// Type of the optimiser.
	// +optional
	// +kubebuilder:default=AdamW
	Type OptimizerType `json:"type,omitempty"`

	// WeightDecay, decoupled from the gradient.
	// +optional
	// +kubebuilder:default=0.0005
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	WeightDecay *float64 `json:"weightDecay,omitempty"`

	// Betas are the decay rates of the first and second moment. OneCycle cycles the first one.
	// +optional
	// +kubebuilder:default={0.9,0.999}
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Minimum=0
	// +kubebuilder:validation:items:Maximum=0.999999999
	// +listType=atomic
	Betas []float64 `json:"betas,omitempty"`

	// Eps is added to the denominator.
	// +optional
	// +kubebuilder:default=0.00000001
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1
	Eps float64 `json:"eps,omitempty"`
}

// ScheduleType names a scheduler of torch.optim.lr_scheduler.
// +kubebuilder:validation:Enum=OneCycle
type ScheduleType string

// OneCycle is OneCycleLR (Smith and Topin, 2017): up to MaxLR and down again, momentum the other way round.
const OneCycle ScheduleType = "OneCycle"

// ScheduleSpec holds the arguments of OneCycleLR, stepped after every batch.
type ScheduleSpec struct {
	// Type of the schedule.
	// +optional
	// +kubebuilder:default=OneCycle
	Type ScheduleType `json:"type,omitempty"`

	// MaxLR is the peak learning rate.
	// +optional
	// +kubebuilder:default=0.003
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1000
	MaxLR float64 `json:"maxLR,omitempty"`

	// PctStart is the share of all steps in which the learning rate rises.
	// +optional
	// +kubebuilder:default=0.3
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	PctStart *float64 `json:"pctStart,omitempty"`

	// DivFactor: the first learning rate is MaxLR / DivFactor.
	// +optional
	// +kubebuilder:default=25
	// +kubebuilder:validation:Minimum=1
	DivFactor float64 `json:"divFactor,omitempty"`

	// FinalDivFactor: the last learning rate is MaxLR / DivFactor / FinalDivFactor.
	// +optional
	// +kubebuilder:default=10000
	// +kubebuilder:validation:Minimum=1
	FinalDivFactor float64 `json:"finalDivFactor,omitempty"`
}

// AugmentationSpec says how training images are varied. Each is drawn anew for every image in every epoch.
type AugmentationSpec struct {
	// RandomCropPadding is the number of pixels by which an image is padded with zeros on each side before a window of
	// the original size is cut out at random. 0 turns it off.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	RandomCropPadding *int32 `json:"randomCropPadding,omitempty"`

	// HorizontalFlip mirrors every other image, at random.
	// +optional
	// +kubebuilder:default=true
	HorizontalFlip *bool `json:"horizontalFlip,omitempty"`
}
