// Package state holds what a training changes: the network, the average of its weights, the optimiser, and how far it
// has come.
package state

import (
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// State is everything that differs between two moments of a training.
type State struct {
	Net *resnet.ResNet
	EMA *resnet.ResNet // the average of Net's weights; nil without spec.training.ema
	// Params are those that are trained at any time.
	Params *libtorch.Parameters
	Names  []string // of Params
	// Optimizers share them: the first one has those that are trained from the first step on, the second, if there is
	// one, those that are frozen at first (spec.training.unfreezeAfterEpochs).
	Optimizers []Optimizer
	Scaler     *libtorch.GradScaler // nil unless in FP16

	calibrated int64 // the step behind which the ranges of EMA were measured
	freezes    func(tensor string) bool

	// Meta is how far the training has come.
	checkpoint.Meta
}

// Optimizer of some of the parameters, with a count of its own steps, as PyTorch has one for each parameter.
type Optimizer struct {
	libtorch.Optimizer
	Params *libtorch.Parameters
	Names  []string // of Params
}

// New returns the state before the first step.
//
// Errors: exit code 64 if spec.training names a part that the network does not have.
func New(config arch.Config, r *recipe.Recipe, d libtorch.Device, dtype libtorch.DType) (*State, error) {
	st := &State{}
	var err error
	if st.Net, err = resnet.New(config, r.Seed, d); err != nil {
		return nil, err
	}
	if r.EMA != nil { // the average begins with the same weights
		if st.EMA, err = resnet.New(config, r.Seed, d); err != nil {
			return nil, err
		}
	}
	for _, n := range st.Networks() {
		if q := r.Quantization; q != nil {
			if err := n.Quantize(quant.Limit(q.ReduceRange), r.AveragingConstant()); err != nil {
				return nil, err
			}
		}
	}
	if err := st.newOptimizers(r, d); err != nil {
		return nil, err
	}
	if dtype == libtorch.Float16 {
		st.Scaler, err = libtorch.NewGradScaler(d)
	}
	st.Threads, st.Precision, st.Kernels = libtorch.Threads(), PrecisionName(dtype), Kernels(d)
	return st, err
}

// newOptimizers makes the optimisers of the recipe.
func (st *State) newOptimizers(r *recipe.Recipe, d libtorch.Device) (err error) {
	if err := r.CheckParts(st.Net.Tensors()); err != nil {
		return err
	}
	st.freezes = r.Freezes
	st.Names, st.Params = st.parameters(r, func(name string) bool { return !r.Freezes(name) || r.Unfreezes() })
	groups := []func(name string) bool{func(name string) bool { return !r.Freezes(name) }}
	if r.Unfreezes() {
		groups = append(groups, r.Freezes)
	}
	for _, in := range groups {
		o := Optimizer{}
		o.Names, o.Params = st.parameters(r, in)
		if o.Optimizer, err = newOptimizer(o.Params, r, d); err != nil {
			return err
		}
		st.Optimizers = append(st.Optimizers, o)
	}
	return nil
}

// parameters are those of the network with certain names, as the recipe trains them.
func (st *State) parameters(r *recipe.Recipe, in func(name string) bool) (names []string, _ *libtorch.Parameters) {
	var tensors []libtorch.Tensor
	var options []libtorch.ParamOptions
	all, parameters := st.Net.Parameters()
	for i, name := range all {
		if in(name) {
			t := parameters[i]
			names, tensors = append(names, name), append(tensors, t)
			options = append(options, libtorch.ParamOptions{WeightDecay: r.WeightDecay(resnet.IsNormOrBias(t)),
				LRMultiplier: r.LRMultiplier(name)})
		}
	}
	return names, libtorch.NewParameters(tensors, options)
}

// newOptimizer makes an optimiser, with kernels of our own where the device has them.
func newOptimizer(p *libtorch.Parameters, r *recipe.Recipe, d libtorch.Device) (libtorch.Optimizer, error) {
	own := libtorch.HasKernels(d)
	switch o := r.Optimizer; {
	case o.Type == v1.SGD && own:
		return libtorch.NewDeviceSGD(p, r.Dampening, r.Nesterov)
	case o.Type == v1.SGD:
		return libtorch.NewSGD(p, r.Dampening, r.Nesterov)
	case own:
		return libtorch.NewDeviceAdamW(p, o.Betas[1], o.Eps)
	default:
		return libtorch.NewAdamW(p, o.Betas[1], o.Eps)
	}
}

// Trained are the optimisers of the steps in which the parts of spec.training.freeze are frozen, or of the others. From
// then on the network computes the gradients of their parameters alone.
func (st *State) Trained(partsFrozen bool) ([]Optimizer, error) {
	if partsFrozen {
		return st.Optimizers[:1], st.freeze(st.freezes)
	}
	return st.Optimizers, st.freeze(func(string) bool { return false })
}

// freeze does so with the network and the average of its weights.
func (st *State) freeze(frozen func(tensor string) bool) error {
	if st.EMA != nil {
		if err := st.EMA.Freeze(frozen); err != nil {
			return err
		}
	}
	return st.Net.Freeze(frozen)
}

// Tested is the network that is tested, saved and exported.
func (st *State) Tested() *resnet.ResNet {
	if st.EMA != nil {
		return st.EMA
	}
	return st.Net
}

// SetRanges sets the ranges of the activations of the average of the weights, as it is now.
func (st *State) SetRanges(ranges map[string]quant.Range) error {
	st.calibrated = st.Step
	return st.EMA.SetRanges(ranges)
}

// Ranges of the activations of the tested network; nil before there are any, and where they were measured on other
// weights.
func (st *State) Ranges() (map[string]quant.Range, error) {
	if st.EMA != nil && st.calibrated != st.Step {
		return nil, nil
	}
	return st.Tested().Ranges()
}

// Networks are the network and, if there is one, its average.
func (st *State) Networks() []*resnet.ResNet {
	if st.EMA != nil {
		return []*resnet.ResNet{st.Net, st.EMA}
	}
	return []*resnet.ResNet{st.Net}
}

// Advance counts a step.
func (st *State) Advance() { st.Step++; st.StepInEpoch++ }

// Add adds the numbers of a step to the sums of the epoch.
func (st *State) Add(loss, gradNorm float64) {
	st.LossSum += loss
	st.GradNormSum += gradNorm
	st.Counted++
}

// MeanLoss and MeanGradNorm are those of the steps of the current epoch whose numbers were added.
func (st *State) MeanLoss() float64     { return st.LossSum / float64(max(1, st.Counted)) }
func (st *State) MeanGradNorm() float64 { return st.GradNormSum / float64(max(1, st.Counted)) }

// EndEpoch closes an epoch with its record, and begins the next one.
func (st *State) EndEpoch(m checkpoint.EpochMetrics) {
	st.Epoch++
	st.StepInEpoch, st.LossSum, st.GradNormSum, st.Counted = 0, 0, 0, 0
	before := st.LastTested()
	begins := m.Quantized() && (before == nil || !before.Quantized())
	if score := m.Score(); m.Tested() && (score > st.BestAccuracy || st.BestEpoch == 0 || begins) {
		st.BestAccuracy, st.BestEpoch = score, m.Epoch
	}
	st.History = append(st.History, m)
}

// LossScale is the loss scaler's, nil without one. It waits for the device.
func (st *State) LossScale() (*float64, error) {
	if st.Scaler == nil {
		return nil, nil
	}
	scale, err := libtorch.Values[float32](st.Scaler.Scale)
	if err != nil {
		return nil, err
	}
	return new(float64(scale[0])), nil
}

// LoadWeights puts weights into the network and its average, and leaves the rest as it is.
func (st *State) LoadWeights(weights checkpoint.StateDict) error {
	for _, n := range st.Networks() {
		if err := n.LoadStateDict(weights); err != nil {
			return err
		}
	}
	return nil
}

// metaCopy is a copy of Meta that later epochs do not change.
func (st *State) metaCopy() (m checkpoint.Meta, err error) {
	m = st.Meta
	m.History, m.Curve = slices.Clone(st.History), st.Curve.Clone()
	m.Ranges, err = st.Ranges()
	return m, err
}
