package v1

// AugmentationSpec says how training images are varied. Each choice is drawn anew for every image in every epoch, from
// seed, epoch and index alone. They are applied in the order: random resized crop, policy, crop, flip, colour jitter,
// normalisation, random erasing, cutout. mixUp and cutMix are of whole batches, behind all of these.
//
// +kubebuilder:validation:XValidation:rule="!has(self.randAugment) || self.policy == 'RandAugment'",fieldPath=".randAugment",message="is for policy: RandAugment only"
type AugmentationSpec struct {
	// randomResizedCrop cuts a box of random size and shape out of an image and resizes it to the size of the images
	// (torchvision's RandomResizedCrop, bilinearly with antialias, on Pillow images). It takes the place of
	// randomCropPadding, which is not looked at. The images of an ImageFolder need spec.dataset.imageSize, and are cut
	// out of the files as they are; {} has torchvision's default arguments. Default: none.
	// +optional
	RandomResizedCrop *RandomResizedCropSpec `json:"randomResizedCrop,omitempty"`

	// policy of automatic augmentation. Default: None.
	//   - None: no automatic augmentation.
	//   - TrivialAugmentWide: one random operation of random strength for each image (Müller and Hutter, 2021;
	//     torchvision's TrivialAugmentWide with its default arguments).
	//   - AutoAugmentCIFAR10: one of 25 pairs of operations that were found on CIFAR10 (Cubuk et al., 2019; torchvision's
	//     AutoAugment).
	//   - AutoAugmentImageNet: one of 25 pairs of operations that were found on ImageNet.
	//   - RandAugment: so many random operations of one strength (Cubuk et al., 2020; torchvision's RandAugment), see
	//     randAugment.
	// +optional
	// +kubebuilder:default=None
	Policy AugmentationPolicy `json:"policy,omitempty"`

	// randAugment holds the arguments of policy: RandAugment. Default: those of torchvision.
	// +optional
	RandAugment *RandAugmentSpec `json:"randAugment,omitempty"`

	// randomCropPadding is the number of pixels by which an image is padded on each side before a window of the
	// original size is cut out at random (torchvision's RandomCrop). 0 turns it off. Default: 4.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	RandomCropPadding *int32 `json:"randomCropPadding,omitempty"`

	// paddingMode is what a random crop finds outside of the image. Default: Constant.
	//   - Constant: black.
	//   - Reflect: the image, mirrored at its border without repeating the outermost pixels.
	// +optional
	// +kubebuilder:default=Constant
	PaddingMode PaddingMode `json:"paddingMode,omitempty"`

	// horizontalFlip mirrors every other image, at random (torchvision's RandomHorizontalFlip). Default: true, but false for
	// MNIST: a mirrored digit is no digit.
	// +optional
	HorizontalFlip *bool `json:"horizontalFlip,omitempty"`

	// colorJitter varies colours (torchvision's ColorJitter). Default: none.
	// +optional
	ColorJitter *ColorJitterSpec `json:"colorJitter,omitempty"`

	// randomErasing sets a box of random size and shape to the mean colour in some of the images (torchvision's
	// RandomErasing, with the value 0 after normalisation); {} has its default arguments. Default: none.
	// +optional
	RandomErasing *RandomErasingSpec `json:"randomErasing,omitempty"`

	// cutout is the side, in pixels, of a square that is set to the mean colour; its centre is anywhere in the image,
	// so that it may lie partly outside (DeVries and Taylor, 2017). 0 turns it off. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1024
	Cutout int32 `json:"cutout,omitempty"`

	// mixUp mixes every image of a batch with the one before it, and their labels by the same shares (Zhang et al., 2018;
	// torchvision's v2.MixUp); {} has its default argument. With cutMix too, each batch is mixed by one of them, drawn at
	// random. Default: none.
	// +optional
	MixUp *MixSpec `json:"mixUp,omitempty"`

	// cutMix puts a box out of the image before it into every image of a batch, and mixes their labels by the areas (Yun
	// et al., 2019; torchvision's v2.CutMix); {} has its default argument. Default: none.
	// +optional
	CutMix *MixSpec `json:"cutMix,omitempty"`
}

// MixSpec holds the argument of torchvision's MixUp or CutMix.
type MixSpec struct {
	// alpha: the share of an image's own label is drawn from the distribution Beta(alpha, alpha), for each batch; CutMix
	// then corrects it by what of the box lies inside. Default: 1.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 0.01 && self <= 100.0",message="must be from 0.01 to 100"
	Alpha *float64 `json:"alpha,omitempty"`
}

// RandomResizedCropSpec holds the arguments of torchvision's RandomResizedCrop.
//
// +kubebuilder:validation:XValidation:rule="!has(self.scale) || (self.scale.size() == 2 && self.scale[0] > 0.0 && self.scale[0] <= self.scale[1])",fieldPath=".scale",message="must be two numbers, the smaller one first, above 0 and at most 1"
// +kubebuilder:validation:XValidation:rule="!has(self.ratio) || (self.ratio.size() == 2 && self.ratio[0] >= 0.01 && self.ratio[0] <= self.ratio[1])",fieldPath=".ratio",message="must be two numbers, the smaller one first, from 0.01 to 100"
type RandomResizedCropSpec struct {
	// scale is the range of the part of an image's area that is cut out. Default: [0.08, 1].
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Maximum=1
	// +listType=atomic
	Scale []float64 `json:"scale,omitempty"`

	// ratio is the range of the width of what is cut out, divided by its height. Default: [0.75, 1.3333333333333333].
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Maximum=100
	// +listType=atomic
	Ratio []float64 `json:"ratio,omitempty"`
}

// RandAugmentSpec holds the arguments of torchvision's RandAugment.
type RandAugmentSpec struct {
	// numOps is how many operations are applied to each image, one after the other. Default: 2.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=14
	NumOps *int32 `json:"numOps,omitempty"`

	// magnitude is the strength of the operations, from 0 to 30. Default: 9.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=30
	Magnitude *int32 `json:"magnitude,omitempty"`
}

// RandomErasingSpec holds the arguments of torchvision's RandomErasing.
//
// +kubebuilder:validation:XValidation:rule="!has(self.scale) || (self.scale.size() == 2 && self.scale[0] >= 0.0 && self.scale[0] <= self.scale[1])",fieldPath=".scale",message="must be two numbers, the smaller one first, from 0 to 1"
// +kubebuilder:validation:XValidation:rule="!has(self.ratio) || (self.ratio.size() == 2 && self.ratio[0] >= 0.01 && self.ratio[0] <= self.ratio[1])",fieldPath=".ratio",message="must be two numbers, the smaller one first, from 0.01 to 100"
type RandomErasingSpec struct {
	// probability with which an image has a box erased; torchvision's p. Default: 0.5.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Probability *float64 `json:"probability,omitempty"`

	// scale is the range of the part of an image's area that is erased. Default: [0.02, 0.33].
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Maximum=1
	// +listType=atomic
	Scale []float64 `json:"scale,omitempty"`

	// ratio is the range of the height of what is erased, divided by its width. Default: [0.3, 3.3].
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Maximum=100
	// +listType=atomic
	Ratio []float64 `json:"ratio,omitempty"`
}

// Flips is HorizontalFlip, or its default for a data set.
func (a AugmentationSpec) Flips(format DatasetFormat) bool {
	if a.HorizontalFlip == nil {
		return format != MNIST
	}
	return *a.HorizontalFlip
}

// AugmentationPolicy is an automatic augmentation.
// +kubebuilder:validation:Enum=None;TrivialAugmentWide;AutoAugmentCIFAR10;AutoAugmentImageNet;RandAugment
type AugmentationPolicy string

// Values of AugmentationSpec.Policy, which explains them.
const (
	PolicyNone          AugmentationPolicy = "None"
	TrivialAugmentWide  AugmentationPolicy = "TrivialAugmentWide"
	AutoAugmentCIFAR10  AugmentationPolicy = "AutoAugmentCIFAR10"
	AutoAugmentImageNet AugmentationPolicy = "AutoAugmentImageNet"
	RandAugment         AugmentationPolicy = "RandAugment"
)

// PaddingMode is what a random crop finds outside of the image.
// +kubebuilder:validation:Enum=Constant;Reflect
type PaddingMode string

// Values of AugmentationSpec.PaddingMode, which explains them.
const (
	PaddingConstant PaddingMode = "Constant"
	PaddingReflect  PaddingMode = "Reflect"
)

// ColorJitterSpec holds the arguments of torchvision's ColorJitter: a factor is drawn from [1−x, 1+x], the hue from
// [−x, x]. Saturation and hue leave grey images as they are.
type ColorJitterSpec struct {
	// brightness is the strength x for brightness. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Brightness float64 `json:"brightness,omitempty"`
	// contrast is the strength x for contrast. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Contrast float64 `json:"contrast,omitempty"`
	// saturation is the strength x for saturation. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Saturation float64 `json:"saturation,omitempty"`
	// hue is the strength x for the hue. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self <= 0.5",message="must be at most 0.5"
	Hue float64 `json:"hue,omitempty"`
}
