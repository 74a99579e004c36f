package v1

// OptimizerType names an optimiser of torch.optim.
// +kubebuilder:validation:Enum=AdamW;SGD
type OptimizerType string

// Values of OptimizerSpec.Type, which explains them.
const (
	AdamW OptimizerType = "AdamW"
	SGD   OptimizerType = "SGD"
)

// OptimizerSpec holds the arguments of the optimiser.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'AdamW' || !has(self.betas) || self.betas == [0.9, 0.999]",fieldPath=".betas",message="is for type: AdamW only; SGD has momentum"
// +kubebuilder:validation:XValidation:rule="self.type == 'SGD' || !(has(self.momentum) || has(self.dampening) || has(self.nesterov))",message="momentum, dampening and nesterov are for type: SGD only; AdamW has betas"
// +kubebuilder:validation:XValidation:rule="!has(self.nesterov) || !self.nesterov || ((!has(self.momentum) || self.momentum > 0.0) && (!has(self.dampening) || self.dampening == 0.0))",fieldPath=".nesterov",message="needs momentum above 0 and dampening 0"
type OptimizerSpec struct {
	// type of the optimiser, from torch.optim. Default: AdamW.
	//   - AdamW: torch.optim.AdamW (Loshchilov and Hutter, 2017).
	//   - SGD: torch.optim.SGD, with momentum.
	// +optional
	// +kubebuilder:default=AdamW
	Type OptimizerType `json:"type,omitempty"`

	// lr is the learning rate that the schedules Cosine, Step and Constant begin with. OneCycle ignores it and takes
	// its maxLR, as in PyTorch. Default: 0.001 for AdamW, 0.1 for SGD.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1000
	LR *float64 `json:"lr,omitempty"`

	// weightDecay: AdamW's is decoupled from the gradient, SGD's is added to it. Default: 0.0005.
	// +optional
	// +kubebuilder:default=0.0005
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	WeightDecay *float64 `json:"weightDecay,omitempty"`

	// decayNormAndBias applies the weight decay to biases and to the weights of normalisations too, as PyTorch does.
	// Default: true.
	// +optional
	// +kubebuilder:default=true
	DecayNormAndBias *bool `json:"decayNormAndBias,omitempty"`

	// betas of AdamW are the decay rates of the first and second moment. OneCycle cycles the first one. Default: [0.9,
	// 0.999].
	// +optional
	// +kubebuilder:default={0.9,0.999}
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Minimum=0
	// +kubebuilder:validation:items:Maximum=1
	// +kubebuilder:validation:items:ExclusiveMaximum=true
	// +listType=atomic
	Betas []float64 `json:"betas,omitempty"`

	// eps of AdamW is added to the denominator. Default: 1e-08.
	// +optional
	// +kubebuilder:default=0.00000001
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1
	Eps float64 `json:"eps,omitempty"`

	// momentum of SGD. OneCycle cycles it. Default: 0.9.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	// +kubebuilder:validation:ExclusiveMaximum=true
	Momentum *float64 `json:"momentum,omitempty"`

	// dampening of SGD's momentum. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Dampening *float64 `json:"dampening,omitempty"`

	// nesterov momentum of SGD. Default: true, unless momentum is 0 or dampening is not.
	// +optional
	Nesterov *bool `json:"nesterov,omitempty"`
}
