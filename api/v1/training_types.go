package v1

// TrainingSpec is the recipe. Names and meanings are PyTorch's.
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

	// quantization trains for a model in 8 bits (export.formats: ONNXInt8). It needs normalization BatchNorm or
	// TinyBatchNorm, activation ReLU or LeakyReLU, and another precision than FP16. Default: none; ONNXInt8 quantises after the
	// training.
	// +optional
	Quantization *QuantizationSpec `json:"quantization,omitempty"`

	// augmentation of the training images.
	// +optional
	// +kubebuilder:default={}
	Augmentation AugmentationSpec `json:"augmentation,omitempty"`

	// evaluation after every epoch.
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

// EvaluationSpec says how the network is tested after every epoch.
type EvaluationSpec struct {
	// flipTTA averages the logits of every image and its mirror image (test-time augmentation). Both accuracies, with
	// and without, are reported; the one without counts. Default: false.
	// +optional
	FlipTTA bool `json:"flipTTA,omitempty"`
}
