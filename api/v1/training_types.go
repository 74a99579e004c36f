package v1

// TrainingSpec is the recipe. Names and meanings are PyTorch's.
//
// +kubebuilder:validation:XValidation:rule="!has(self.unfreezeAfterEpochs) || has(self.freeze)",fieldPath=".unfreezeAfterEpochs",message="is for parts that are frozen (freeze)"
// +kubebuilder:validation:XValidation:rule="!has(self.unfreezeAfterEpochs) || !has(self.epochs) || self.unfreezeAfterEpochs < self.epochs",fieldPath=".unfreezeAfterEpochs",message="must be less than epochs"
// +kubebuilder:validation:XValidation:rule="!has(self.gradientAccumulationSteps) || !has(self.batchSize) || self.gradientAccumulationSteps < 1 || (self.batchSize % self.gradientAccumulationSteps == 0 && self.batchSize >= self.gradientAccumulationSteps)",fieldPath=".batchSize",message="must be a multiple of gradientAccumulationSteps"
type TrainingSpec struct {
	// epochs is the number of passes over the training images. Default: 20.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	Epochs int32 `json:"epochs,omitempty"`

	// batchSize is the number of images of one optimiser step. The last, smaller batch of an epoch is dropped. Default:
	// 128.
	// +optional
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=65536
	BatchSize int32 `json:"batchSize,omitempty"`

	// gradientAccumulationSteps is the number of parts in which a process works on its images of a step, one after the
	// other; their gradients are added up. batchSize stays the number of images of the step; memory is needed for a part.
	// Batch normalisation is of a part. Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4096
	GradientAccumulationSteps int32 `json:"gradientAccumulationSteps,omitempty"`

	// sampler draws the images of an epoch. Default: Shuffle.
	//   - Shuffle: every image once, in random order.
	//   - Balanced: as many images, drawn with replacement, each class alike often (PyTorch's WeightedRandomSampler).
	// +optional
	// +kubebuilder:default=Shuffle
	Sampler Sampler `json:"sampler,omitempty"`

	// classWeights are the weights of the classes in the training loss (PyTorch's CrossEntropyLoss(weight=…)). Default: all
	// classes weigh the same.
	// +optional
	ClassWeights *ClassWeightsSpec `json:"classWeights,omitempty"`

	// optimizer updates the weights.
	// +optional
	// +kubebuilder:default={}
	Optimizer OptimizerSpec `json:"optimizer,omitempty"`

	// schedule sets the learning rate (and momentum) of every step.
	// +optional
	// +kubebuilder:default={}
	Schedule ScheduleSpec `json:"schedule,omitempty"`

	// precision of convolutions and matrix products. The weights and the optimiser are always float32. Default: Auto.
	//   - Auto: BF16 on GPUs and on CPUs with AMX, else FP32, which is faster there.
	//   - FP32: float32, without autocast.
	//   - BF16: torch.autocast(dtype=torch.bfloat16).
	//   - FP16: torch.autocast(dtype=torch.float16) with torch.cuda.amp.GradScaler; it needs a GPU.
	// +optional
	// +kubebuilder:default=Auto
	Precision Precision `json:"precision,omitempty"`

	// labelSmoothing of the cross-entropy loss. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self <= 0.99",message="must be at most 0.99"
	LabelSmoothing float64 `json:"labelSmoothing,omitempty"`

	// clipGradNorm scales the gradients of a step down so that their joint 2-norm is at most this
	// (torch.nn.utils.clip_grad_norm_). Default: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	ClipGradNorm *float64 `json:"clipGradNorm,omitempty"`

	// ema keeps an exponential moving average of the weights, which is what is tested, validated and exported. Default:
	// none.
	// +optional
	EMA *EMASpec `json:"ema,omitempty"`

	// earlyStopping ends the training when the validation set no longer improves. It needs
	// spec.dataset.validationFraction, or an ImageFolder with val/ beside test/. Default: none; all epochs are trained.
	// +optional
	EarlyStopping *EarlyStoppingSpec `json:"earlyStopping,omitempty"`

	// freeze are parts of the network that are not trained, by torchvision's names: conv1, bn1, layer1, or layer1.0.conv2
	// for one layer. Normalisations in them go by their running statistics. It is for fine-tuning (spec.resumeFrom).
	// Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(p, p.matches('^(conv1|bn1|fc|layer[1-4])([.][a-z0-9_]+)*$'))",message="must be parts in torchvision's names: conv1, bn1, layer1 to layer4 and fc, or one of a part, such as layer1.0.conv2"
	// +listType=set
	Freeze []string `json:"freeze,omitempty"`

	// unfreezeAfterEpochs is the number of epochs after which the parts of freeze are trained too. Default: never.
	// +optional
	// +kubebuilder:validation:Minimum=1
	UnfreezeAfterEpochs *int32 `json:"unfreezeAfterEpochs,omitempty"`

	// lrMultipliers are factors of the learning rate of parts of the network, named as in freeze; where several name a
	// parameter, the longest name counts. Default: 1 for all.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(p, p in ['conv1', 'bn1', 'fc', 'layer1', 'layer2', 'layer3', 'layer4'] || p.startsWith('conv1.') || p.startsWith('bn1.') || p.startsWith('fc.') || p.startsWith('layer1.') || p.startsWith('layer2.') || p.startsWith('layer3.') || p.startsWith('layer4.'))",message="must name parts as torchvision does: conv1, bn1, layer1 to layer4 and fc, or one of a part, such as layer1.0.conv2"
	// +kubebuilder:validation:XValidation:rule="self.all(p, self[p] >= 0.0 && self[p] <= 1000.0)",message="must be from 0 to 1000 for each part"
	LRMultipliers map[string]float64 `json:"lrMultipliers,omitempty"`

	// quantization trains for a model in 8 bits (export.formats: ONNXInt8). It needs normalization BatchNorm or
	// TinyBatchNorm, activation ReLU or LeakyReLU, and another precision than FP16. Default: none; ONNXInt8 quantises after the
	// training.
	// +optional
	Quantization *QuantizationSpec `json:"quantization,omitempty"`

	// augmentation of the training images.
	// +optional
	// +kubebuilder:default={}
	Augmentation AugmentationSpec `json:"augmentation,omitempty"`

	// evaluation says when and how the network is tested.
	// +optional
	// +kubebuilder:default={}
	Evaluation EvaluationSpec `json:"evaluation,omitempty"`

	// seed of everything random: initial weights, data order, augmentation, synthetic data. Default: 0.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	Seed int64 `json:"seed,omitempty"`

	// deterministic refuses operations that may give other bits in another run on the same kind of device
	// (torch.use_deterministic_algorithms). On a CPU with the same number of threads every run is deterministic.
	// Default: false.
	// +optional
	Deterministic bool `json:"deterministic,omitempty"`
}

// Sampler draws the images of an epoch.
// +kubebuilder:validation:Enum=Shuffle;Balanced
type Sampler string

// Values of TrainingSpec.Sampler, which explains them.
const (
	SamplerShuffle  Sampler = "Shuffle"
	SamplerBalanced Sampler = "Balanced"
)

// ClassWeightsSpec says what each class weighs in the training loss, which is the weighted mean over a batch.
//
// +kubebuilder:validation:XValidation:rule="(has(self.type) && self.type == 'Values') == has(self.values)",fieldPath=".values",message="and type: Values belong together"
type ClassWeightsSpec struct {
	// type of the weights. Default: Balanced.
	//   - Balanced: the number of images / (the number of classes × the images of the class), as in scikit-learn.
	//   - Values: those of values.
	// +optional
	// +kubebuilder:default=Balanced
	Type ClassWeightsType `json:"type,omitempty"`

	// values are the weights in the order of the classes, at most 1,000. Default: none; type Values needs them.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:Minimum=0
	// +kubebuilder:validation:items:ExclusiveMinimum=true
	// +kubebuilder:validation:items:Maximum=1000000
	// +listType=atomic
	Values []float64 `json:"values,omitempty"`
}

// ClassWeightsType says where the weights of classes come from.
// +kubebuilder:validation:Enum=Balanced;Values
type ClassWeightsType string

// Values of ClassWeightsSpec.Type, which explains them.
const (
	ClassWeightsBalanced ClassWeightsType = "Balanced"
	ClassWeightsValues   ClassWeightsType = "Values"
)

// Precision of convolutions and matrix products.
// +kubebuilder:validation:Enum=Auto;FP32;BF16;FP16
type Precision string

// Values of TrainingSpec.Precision, which explains them.
const (
	PrecisionAuto Precision = "Auto"
	PrecisionFP32 Precision = "FP32"
	PrecisionBF16 Precision = "BF16"
	PrecisionFP16 Precision = "FP16"
)

// EMASpec is an exponential moving average of weights and running statistics, updated after every step:
// ema = d·ema + (1 − d)·weight.
type EMASpec struct {
	// decay is what d grows to. Behind step t, counted from 0, d is the lesser of decay and 1 − (1 + t)^(−2/3), so that
	// the average forgets the initial weights (timm's ModelEmaV3 with use_warmup): it takes 31 steps to 0.9, 1,000 to
	// 0.99 and 31,600 to 0.999. Default: 0.999.
	// +optional
	// +kubebuilder:default=0.999
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self <= 0.999999",message="must be at most 0.999999"
	Decay *float64 `json:"decay,omitempty"`
}

// EarlyStoppingSpec ends a training that no longer improves.
type EarlyStoppingSpec struct {
	// patience is the number of epochs without improvement after which the training ends. Default: 5.
	// +optional
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=1
	Patience int32 `json:"patience,omitempty"`

	// metric that shall improve. Default: Accuracy.
	//   - Accuracy: the top-1 accuracy of the validation set.
	//   - Loss: the mean loss of the validation set.
	// +optional
	// +kubebuilder:default=Accuracy
	Metric EarlyStoppingMetric `json:"metric,omitempty"`

	// minDelta is the least change that counts as an improvement, in the unit of the metric (0.001 of accuracy: 0.1 %).
	// Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MinDelta float64 `json:"minDelta,omitempty"`
}

// EarlyStoppingMetric is what early stopping looks at.
// +kubebuilder:validation:Enum=Accuracy;Loss
type EarlyStoppingMetric string

// Values of EarlyStoppingSpec.Metric, which explains them.
const (
	StopOnAccuracy EarlyStoppingMetric = "Accuracy"
	StopOnLoss     EarlyStoppingMetric = "Loss"
)

// QuantizationSpec is quantisation-aware training: in the last part of the training weights and activations are rounded
// as the int8 model rounds them (Jacob et al., 2018), with the observers and the fake quantisation of torch.ao.
//
// +kubebuilder:validation:XValidation:rule="!has(self.startAfter) || !has(self.freezeObserversAfter) || self.startAfter < self.freezeObserversAfter",fieldPath=".freezeObserversAfter",message="must be more than startAfter: the ranges of activations are observed in between"
type QuantizationSpec struct {
	// method of the quantisation. Default: QAT.
	//   - QAT: fake quantisation in the forward pass; gradients pass it straight through, but not what lies outside of a
	//     range.
	// +optional
	// +kubebuilder:default=QAT
	Method QuantizationMethod `json:"method,omitempty"`

	// startAfter is the share of all steps after which the quantisation begins. From then on the best epoch, and early
	// stopping, go by the accuracy of the quantised network. Default: 0.7.
	// +optional
	// +kubebuilder:default=0.7
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	StartAfter *float64 `json:"startAfter,omitempty"`

	// freezeObserversAfter is the share of all steps after which the ranges of activations, and the running statistics
	// of normalisations, do not move any more: the rest of the training sees the very function that is exported.
	// 1 freezes nothing. Default: 0.9.
	// +optional
	// +kubebuilder:default=0.9
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	FreezeObserversAfter *float64 `json:"freezeObserversAfter,omitempty"`

	// averagingConstant is how far a range moves towards that of a batch in every step
	// (torch.ao.quantization.MovingAverageMinMaxObserver). Default: 0.01.
	// +optional
	// +kubebuilder:default=0.01
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1
	AveragingConstant *float64 `json:"averagingConstant,omitempty"`

	// reduceRange keeps the weights in [-63, 63] in place of [-127, 127], in the training and in the int8 model, for
	// x86-64 processors with AVX2 but without VNNI, on which sums of larger products saturate. Default: false.
	// +optional
	ReduceRange bool `json:"reduceRange,omitempty"`

	// calibrationBatches of training images, without augmentation, are what the ranges of activations of the average of
	// the weights (training.ema) are measured on, each time that it is tested; a batch is training.batchSize images, at
	// most 128. Without ema the ranges are those of the training. Default: 32.
	// +optional
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	CalibrationBatches int32 `json:"calibrationBatches,omitempty"`
}

// QuantizationMethod is how a training prepares for 8 bits.
// +kubebuilder:validation:Enum=QAT
type QuantizationMethod string

// QAT is quantisation-aware training; QuantizationSpec.Method explains it.
const QAT QuantizationMethod = "QAT"

// EvaluationSpec says when and how the network is tested.
type EvaluationSpec struct {
	// everyEpochs tests the network after every so many epochs, and after the last one. The best epoch and early stopping
	// are of the epochs that were tested. Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	EveryEpochs int32 `json:"everyEpochs,omitempty"`

	// flipTTA averages the logits of every image and its mirror image (test-time augmentation). Both accuracies, with
	// and without, are reported; the one without counts. Default: false.
	// +optional
	FlipTTA bool `json:"flipTTA,omitempty"`

	// preciseBNBatches computes the running statistics of batch normalisation anew before each test, from so many batches of
	// training images without augmentation (PreciseBN; torch.optim.swa_utils.update_bn). It helps where training
	// images look unlike test images, as with mixUp. 0: they are those that training has moved. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	PreciseBNBatches int32 `json:"preciseBNBatches,omitempty"`
}
