package recipe

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// inPart reports whether a tensor of the state dict belongs to a part of the network: layer1 has layer1.0.conv1.weight.
func inPart(tensor, part string) bool {
	return tensor == part || strings.HasPrefix(tensor, part+".")
}

// Freezes reports whether a tensor of the state dict belongs to the parts that spec.training.freeze names.
func (r *Recipe) Freezes(tensor string) bool {
	return slices.ContainsFunc(r.Freeze, func(part string) bool { return inPart(tensor, part) })
}

// Unfreezes reports whether these parts are trained later on.
func (r *Recipe) Unfreezes() bool { return r.UnfreezeAfterEpochs != nil }

// LRMultiplier is the factor of a parameter's learning rate: that of the longest part that it belongs to.
func (r *Recipe) LRMultiplier(tensor string) float64 {
	factor, longest := 1.0, -1
	for part, f := range r.LRMultipliers {
		if inPart(tensor, part) && len(part) > longest {
			factor, longest = f, len(part)
		}
	}
	return factor
}

// unfreezeAt is the step from which on all parts are trained: the first one without spec.training.freeze.
func (r *Recipe) unfreezeAt(stepsPerEpoch int) int64 {
	switch {
	case len(r.Freeze) == 0:
		return 0
	case !r.Unfreezes():
		return never
	}
	return int64(*r.UnfreezeAfterEpochs) * int64(stepsPerEpoch)
}

// CheckParts compares the parts that the recipe names with the tensors of the state dict.
//
// Errors have exit code 64: a part that is none, or nothing is left to train.
func (r *Recipe) CheckParts(tensors []string) error {
	check := func(field, part string) error {
		if slices.ContainsFunc(tensors, func(t string) bool { return inPart(t, part) }) {
			return nil
		}
		return exit.Errorf(contract.ExitConfig, "spec.training.%s: the network has no part %q: it has %s, and what is in "+
			"them, such as %s", field, part, strings.Join(parts(tensors), ", "), example(tensors, part))
	}
	for _, part := range r.Freeze {
		if err := check("freeze", part); err != nil {
			return err
		}
	}
	for _, part := range slices.Sorted(maps.Keys(r.LRMultipliers)) {
		if err := check("lrMultipliers", part); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(tensors, func(t string) bool { return isParameter(t) && !r.Freezes(t) }) {
		return nil
	}
	return exit.Errorf(contract.ExitConfig, "spec.training.freeze leaves nothing to train: take one of %s out of it",
		strings.Join(r.Freeze, ", "))
}

// CheckNetwork is CheckParts for the network of a spec, before the data is known. Errors have exit code 64.
func CheckNetwork(spec *v1.ResNetTrainingJobSpec) error {
	if len(spec.Training.Freeze) == 0 && len(spec.Training.LRMultipliers) == 0 {
		return nil
	}
	const any = 224 // the names do not depend on the size of the images, nor on their channels and classes
	config, err := arch.ConfigOf(spec.Model, any, any, 3, 1)
	if err != nil {
		return err
	}
	var names []string
	for _, t := range arch.New(config).Tensors() {
		names = append(names, t.Name)
	}
	r := Resolve(spec.Training)
	return r.CheckParts(names)
}

// isParameter reports whether a tensor of the state dict is one, and no buffer.
func isParameter(tensor string) bool {
	return strings.HasSuffix(tensor, ".weight") || strings.HasSuffix(tensor, ".bias")
}

// parts are the first names of tensors, in their order.
func parts(tensors []string) (all []string) {
	for _, t := range tensors {
		if first, _, _ := strings.Cut(t, "."); !slices.Contains(all, first) {
			all = append(all, first)
		}
	}
	return all
}

// example is a layer of the part that a wrong name begins with, or of any block.
func example(tensors []string, wrong string) string {
	first, _, _ := strings.Cut(wrong, ".")
	for _, within := range []string{first + ".", "layer"} {
		for _, t := range tensors {
			if i := strings.LastIndexByte(t, '.'); strings.HasPrefix(t, within) && strings.Contains(t[:i], ".") {
				return t[:i]
			}
		}
	}
	return tensors[0]
}

// checkFineTuning refuses a recipe whose parts never thaw, or thaw when nothing is frozen.
func (p *Plan) checkFineTuning() error {
	if n := p.UnfreezeAfterEpochs; n != nil && *n >= p.Epochs {
		return exit.Errorf(contract.ExitConfig, "spec.training.unfreezeAfterEpochs is %d, but the training has %d epochs: "+
			"set it to less, or leave it out to keep %s frozen", *n, p.Epochs, strings.Join(p.Freeze, ", "))
	}
	for part, f := range p.LRMultipliers {
		if !(f >= 0) || math.IsInf(f, 0) {
			return exit.Errorf(contract.ExitConfig, "%s is %g: set it to 0 or more",
				fmt.Sprintf("spec.training.lrMultipliers[%s]", part), f)
		}
	}
	return nil
}
