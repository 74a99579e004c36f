package v1

// ScheduleType names a scheduler of torch.optim.lr_scheduler.
// +kubebuilder:validation:Enum=OneCycle;Cosine;CosineWarmRestarts;Step;Polynomial;ReduceLROnPlateau;Constant
type ScheduleType string

// Values of ScheduleSpec.Type, which explains them.
const (
	OneCycle           ScheduleType = "OneCycle"
	Cosine             ScheduleType = "Cosine"
	CosineWarmRestarts ScheduleType = "CosineWarmRestarts"
	Step               ScheduleType = "Step"
	Polynomial         ScheduleType = "Polynomial"
	ReduceLROnPlateau  ScheduleType = "ReduceLROnPlateau"
	Constant           ScheduleType = "Constant"
)

// AnnealStrategy is the shape of OneCycle's descent.
// +kubebuilder:validation:Enum=Cos;Linear
type AnnealStrategy string

// Values of ScheduleSpec.AnnealStrategy, which explains them.
const (
	AnnealCos    AnnealStrategy = "Cos"
	AnnealLinear AnnealStrategy = "Linear"
)

// ThresholdMode says how ReduceLROnPlateau's threshold is meant.
// +kubebuilder:validation:Enum=Rel;Abs
type ThresholdMode string

// Values of ScheduleSpec.ThresholdMode, which explains them.
const (
	ThresholdRel ThresholdMode = "Rel"
	ThresholdAbs ThresholdMode = "Abs"
)

// ScheduleSpec holds the arguments of the scheduler, which is stepped after every batch.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'OneCycle' || !(has(self.annealStrategy) || has(self.cycleMomentum) || has(self.baseMomentum) || has(self.maxMomentum) || has(self.threePhase))",message="annealStrategy, cycleMomentum, baseMomentum, maxMomentum and threePhase are for type: OneCycle only"
// +kubebuilder:validation:XValidation:rule="self.type in ['Cosine', 'CosineWarmRestarts', 'ReduceLROnPlateau'] || !has(self.minLR)",fieldPath=".minLR",message="is for type: Cosine, CosineWarmRestarts and ReduceLROnPlateau only"
// +kubebuilder:validation:XValidation:rule="has(self.type) && self.type == 'CosineWarmRestarts' ? has(self.restartEpochs) : !(has(self.restartEpochs) || has(self.restartMultiplier))",fieldPath=".restartEpochs",message="and restartMultiplier belong to type: CosineWarmRestarts, which needs restartEpochs"
// +kubebuilder:validation:XValidation:rule="self.type == 'Polynomial' || !has(self.power)",fieldPath=".power",message="is for type: Polynomial only"
// +kubebuilder:validation:XValidation:rule="self.type == 'ReduceLROnPlateau' || !(has(self.metric) || has(self.factor) || has(self.patience) || has(self.threshold) || has(self.thresholdMode) || has(self.cooldown))",message="metric, factor, patience, threshold, thresholdMode and cooldown are for type: ReduceLROnPlateau only"
// +kubebuilder:validation:XValidation:rule="has(self.type) && self.type == 'Step' ? has(self.milestones) : !(has(self.milestones) || has(self.gamma))",fieldPath=".milestones",message="and gamma belong to type: Step, which needs milestones"
// +kubebuilder:validation:XValidation:rule="self.type != 'OneCycle' || !has(self.warmupEpochs) || self.warmupEpochs == 0.0",fieldPath=".warmupEpochs",message="is not for type: OneCycle, which has its own warm-up (pctStart)"
// +kubebuilder:validation:XValidation:rule="!has(self.baseMomentum) || !has(self.maxMomentum) || self.baseMomentum <= self.maxMomentum",fieldPath=".baseMomentum",message="must not be above maxMomentum"
type ScheduleSpec struct {
	// type of the schedule, from torch.optim.lr_scheduler. Default: OneCycle.
	//   - OneCycle: OneCycleLR (Smith and Topin, 2017): up to maxLR and down again, momentum the other way round.
	//   - Cosine: CosineAnnealingLR over all steps behind the warm-up: from the optimiser's lr down to minLR.
	//   - CosineWarmRestarts: CosineAnnealingWarmRestarts: from lr down to minLR, again and again.
	//   - Step: MultiStepLR: the learning rate is multiplied by gamma at every milestone.
	//   - Polynomial: PolynomialLR over all steps behind the warm-up: lr · (1 − share of the steps)^power.
	//   - ReduceLROnPlateau: the learning rate is multiplied by factor when the validation set has not improved for
	//     patience epochs that were tested.
	//   - Constant: the optimiser's lr throughout.
	// +optional
	// +kubebuilder:default=OneCycle
	Type ScheduleType `json:"type,omitempty"`

	// maxLR is OneCycle's peak learning rate. Default: 0.003.
	// +optional
	// +kubebuilder:default=0.003
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1000
	MaxLR float64 `json:"maxLR,omitempty"`

	// pctStart is the share of all steps in which OneCycle's learning rate rises. Default: 0.3.
	// +optional
	// +kubebuilder:default=0.3
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	PctStart *float64 `json:"pctStart,omitempty"`

	// annealStrategy is the shape of OneCycle's descent. Default: Cos.
	//   - Cos: half a cosine.
	//   - Linear: a straight line.
	// +optional
	AnnealStrategy AnnealStrategy `json:"annealStrategy,omitempty"`

	// cycleMomentum moves OneCycle's momentum (SGD) or first beta (AdamW) against the learning rate. Default: true.
	// +optional
	CycleMomentum *bool `json:"cycleMomentum,omitempty"`

	// baseMomentum is OneCycle's momentum at the peak of the learning rate. Default: 0.85.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	// +kubebuilder:validation:ExclusiveMaximum=true
	BaseMomentum *float64 `json:"baseMomentum,omitempty"`

	// maxMomentum is OneCycle's momentum at its start and end. Default: 0.95.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	// +kubebuilder:validation:ExclusiveMaximum=true
	MaxMomentum *float64 `json:"maxMomentum,omitempty"`

	// divFactor: OneCycle's first learning rate is maxLR / divFactor. Default: 25.
	// +optional
	// +kubebuilder:default=25
	// +kubebuilder:validation:Minimum=1
	DivFactor float64 `json:"divFactor,omitempty"`

	// finalDivFactor: OneCycle's last learning rate is maxLR / divFactor / finalDivFactor. Default: 10000.
	// +optional
	// +kubebuilder:default=10000
	// +kubebuilder:validation:Minimum=1
	FinalDivFactor float64 `json:"finalDivFactor,omitempty"`

	// threePhase of OneCycle goes back to the first learning rate before it anneals to the last one. Default: false.
	// +optional
	ThreePhase *bool `json:"threePhase,omitempty"`

	// minLR is where Cosine and CosineWarmRestarts end (eta_min), and below which ReduceLROnPlateau does not go (min_lr).
	// Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	MinLR *float64 `json:"minLR,omitempty"`

	// restartEpochs of CosineWarmRestarts is the length of the first descent, in epochs (T_0). Default: none; it is needed.
	// +optional
	// +kubebuilder:validation:Minimum=1
	RestartEpochs *int32 `json:"restartEpochs,omitempty"`

	// restartMultiplier of CosineWarmRestarts is how many times as long as the one before each further descent is (T_mult).
	// Default: 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	RestartMultiplier *int32 `json:"restartMultiplier,omitempty"`

	// power of Polynomial. Default: 1, a straight line.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=100
	Power *float64 `json:"power,omitempty"`

	// metric of the validation set that ReduceLROnPlateau watches. Default: Loss.
	//   - Loss: the mean loss; it shall fall.
	//   - Accuracy: the top-1 accuracy; it shall rise.
	// +optional
	Metric EarlyStoppingMetric `json:"metric,omitempty"`

	// factor of ReduceLROnPlateau by which the learning rate is multiplied. Default: 0.1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1
	// +kubebuilder:validation:ExclusiveMaximum=true
	Factor *float64 `json:"factor,omitempty"`

	// patience of ReduceLROnPlateau is the number of tested epochs without improvement that are waited for; the learning
	// rate falls behind the next one. Default: 10.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Patience *int32 `json:"patience,omitempty"`

	// threshold of ReduceLROnPlateau is the least change that counts as an improvement: see thresholdMode. Default: 0.0001.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Threshold *float64 `json:"threshold,omitempty"`

	// thresholdMode of ReduceLROnPlateau. Default: Rel.
	//   - Rel: threshold is a share of the best value.
	//   - Abs: it is in the unit of the metric.
	// +optional
	ThresholdMode ThresholdMode `json:"thresholdMode,omitempty"`

	// cooldown of ReduceLROnPlateau is the number of tested epochs after a reduction that are not looked at. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Cooldown *int32 `json:"cooldown,omitempty"`

	// milestones of Step are the epochs at whose beginning the learning rate falls, in rising order, counted from 0.
	// Default: none; Step needs them.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:XValidation:rule="self.all(i, self.filter(j, j == i).size() == 1) && self.isSorted()",message="must be in rising order"
	// +listType=atomic
	Milestones []int32 `json:"milestones,omitempty"`

	// gamma of Step is the factor at every milestone. Default: 0.1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1
	Gamma *float64 `json:"gamma,omitempty"`

	// warmupEpochs is the time, in epochs, in which the learning rate rises linearly before another schedule than OneCycle
	// (LinearLR followed by the schedule, as in SequentialLR). Default: 0, none.
	// +optional
	// +kubebuilder:validation:Minimum=0
	WarmupEpochs float64 `json:"warmupEpochs,omitempty"`

	// warmupStartFactor: the warm-up begins at this factor of lr (LinearLR's start_factor). Default: 0.01.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1
	WarmupStartFactor *float64 `json:"warmupStartFactor,omitempty"`
}
