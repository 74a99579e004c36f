package v1

// CheckpointSpec says when checkpoints are written and how many are kept. A checkpoint is taken between two steps and
// written in the background while the training goes on.
type CheckpointSpec struct {
	// everyEpochs writes a checkpoint after every so many epochs; the last epoch always gets one. Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	EveryEpochs int32 `json:"everyEpochs,omitempty"`

	// everySeconds writes a checkpoint, inside an epoch too, when the last one is this old. Default: never.
	// +optional
	// +kubebuilder:validation:Minimum=10
	EverySeconds *int32 `json:"everySeconds,omitempty"`

	// keepLast checkpoints, the newest ones. Default: 2.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	KeepLast int32 `json:"keepLast,omitempty"`

	// keepBest keeps the checkpoint with the best accuracy too. Default: true.
	// +optional
	// +kubebuilder:default=true
	KeepBest *bool `json:"keepBest,omitempty"`

	// maxLagSeconds ends the attempt (exit code 69) when the newest complete checkpoint is so much older than the
	// newest one that should be: the storage is away for too long to train on. Default: 1800.
	// +optional
	// +kubebuilder:default=1800
	// +kubebuilder:validation:Minimum=60
	MaxLagSeconds int32 `json:"maxLagSeconds,omitempty"`
}

// ResumeFromSpec is where a job begins instead of random weights.
type ResumeFromSpec struct {
	// uri of a checkpoint, of a job's folder (its newest checkpoint is taken), or of a .safetensors or .pt file with a
	// state dict, such as torchvision publishes: s3://bucket/key, file:///path, or https://host/path of a file.
	// status.checkpoint.uri of another job is one.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^(s3://[a-z0-9][a-z0-9.-]+/.|file:///.|https?://[^/@]+/.)')",message="must be s3://bucket/key, https://host/path or file:///path"
	URI string `json:"uri"`

	// sha256 of the file with the weights, in hexadecimal digits (sha256sum FILE); another file is refused. Checkpoints
	// know their own sums. Default: not checked.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="must be 64 lower-case hexadecimal digits"
	SHA256 Checksum `json:"sha256,omitempty"`

	// weightsOnly takes the weights and begins the recipe anew, as for fine-tuning; a last layer of another number of
	// classes is then left at random. Otherwise optimiser, schedule and epoch go on where the checkpoint stopped, and
	// model, data set and recipe must be the same. A file always gives weights only. Default: false.
	// +optional
	WeightsOnly bool `json:"weightsOnly,omitempty"`
}

// ExportFormat is a file format for trained models.
// +kubebuilder:validation:Enum=Safetensors;PyTorch;ONNX;ONNXInt8
type ExportFormat string

// Values of ExportSpec.Formats, which explains them.
const (
	ExportSafetensors ExportFormat = "Safetensors"
	ExportPyTorch     ExportFormat = "PyTorch"
	ExportONNX        ExportFormat = "ONNX"
	ExportONNXInt8    ExportFormat = "ONNXInt8"
)

// ExportSpec says in which formats the model is written at the end. model.safetensors is always written.
type ExportSpec struct {
	// formats to write. Default: [Safetensors, PyTorch, ONNX].
	//   - Safetensors: model.safetensors.
	//   - PyTorch: model.pt, a state dict for torch.load.
	//   - ONNX: model.onnx, the graph for inference, opset 13.
	//   - ONNXInt8: model.int8.onnx, the same quantised to 8 bits after the training, for small processors.
	// +optional
	// +kubebuilder:default={Safetensors,PyTorch,ONNX}
	// +kubebuilder:validation:MaxItems=4
	// +listType=set
	Formats []ExportFormat `json:"formats,omitempty"`

	// includeNormalization puts the normalisation of the input into the ONNX graph, which then takes pixels in [0, 1].
	// Default: false.
	// +optional
	IncludeNormalization bool `json:"includeNormalization,omitempty"`

	// calibrationBatches of training images, without augmentation, are what ONNXInt8 measures the ranges of activations on;
	// a batch is training.batchSize images, at most 128. Default: 32.
	// +optional
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	CalibrationBatches int32 `json:"calibrationBatches,omitempty"`

	// reduceRange keeps the weights of ONNXInt8 in [-63, 63] in place of [-127, 127], for x86-64 processors with AVX2 but
	// without VNNI, on which sums of larger products saturate. Default: false.
	// +optional
	ReduceRange bool `json:"reduceRange,omitempty"`

	// weights to export. Default: Last.
	//   - Last: those after the last step.
	//   - Best: those of the best checkpoint.
	// +optional
	// +kubebuilder:default=Last
	Weights ExportWeights `json:"weights,omitempty"`
}

// ExportWeights chooses a checkpoint.
// +kubebuilder:validation:Enum=Last;Best
type ExportWeights string

// Values of ExportSpec.Weights, which explains them.
const (
	WeightsLast ExportWeights = "Last"
	WeightsBest ExportWeights = "Best"
)
