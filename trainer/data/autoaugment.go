package data

import (
	"math"
	"math/rand/v2"
)

// bins are the magnitudes of the operations of AutoAugment and RandAugment, which differ from those of TrivialAugmentWide.
type bins struct{ h, w, n int }

// magnitude of a bin, as torchvision's _augmentation_space has it; and whether some draws are negated.
func (b bins) magnitude(op policyOp, bin int) (magnitude float64, signed bool) {
	to := map[policyOp]float64{
		opShearX: 0.3, opShearY: 0.3, opRotate: 30, opBrightness: 0.9, opColor: 0.9, opContrast: 0.9, opSharpness: 0.9,
		opTranslateX: 150. / 331 * float64(b.w), opTranslateY: 150. / 331 * float64(b.h),
	}[op]
	switch op {
	case opPosterize:
		step := float32(float64(b.n-1) / 4)
		return 8 - math.RoundToEven(float64(float32(bin)/step)), false
	case opSolarize:
		return float64(linspace(255, 0, b.n, bin)), false
	}
	return float64(linspace(0, to, b.n, bin)), to > 0
}

// randAugment is torchvision's RandAugment(ops, magnitude): so many random operations of one strength.
type randAugment struct {
	bins
	ops, bin int
}

func (r randAugment) draw(g *rand.PCG) (choices []policyChoice) {
	for range r.ops {
		op := policyOp(below(g, int(trivialOps)))
		m, signed := r.magnitude(op, r.bin)
		if signed && below(g, 2) == 1 {
			m = -m
		}
		choices = append(choices, policyChoice{op, m})
	}
	return choices
}

// autoAugment is torchvision's AutoAugment: one of its policies, each of two operations, which have their probabilities
// and strengths.
type autoAugment struct {
	bins
	policies [][2]step
}

type step struct {
	op          policyOp
	probability float32
	bin         int
}

// draw draws as AutoAugment.get_params: the policy, for both operations whether they are applied, and their signs.
func (a autoAugment) draw(g *rand.PCG) (choices []policyChoice) {
	policy := a.policies[below(g, len(a.policies))]
	chance := [2]float32{unit24(g), unit24(g)}
	negated := [2]bool{below(g, 2) == 0, below(g, 2) == 0}
	for i, s := range policy {
		if chance[i] > s.probability {
			continue
		}
		m, signed := a.magnitude(s.op, s.bin)
		if signed && negated[i] {
			m = -m
		}
		choices = append(choices, policyChoice{s.op, m})
	}
	return choices
}

// cifar10Policies and imageNetPolicies are those of Cubuk et al., 2019, in torchvision's order.
var cifar10Policies = [][2]step{
	{{opInvert, 0.1, 0}, {opContrast, 0.2, 6}},
	{{opRotate, 0.7, 2}, {opTranslateX, 0.3, 9}},
	{{opSharpness, 0.8, 1}, {opSharpness, 0.9, 3}},
	{{opShearY, 0.5, 8}, {opTranslateY, 0.7, 9}},
	{{opAutoContrast, 0.5, 0}, {opEqualize, 0.9, 0}},
	{{opShearY, 0.2, 7}, {opPosterize, 0.3, 7}},
	{{opColor, 0.4, 3}, {opBrightness, 0.6, 7}},
	{{opSharpness, 0.3, 9}, {opBrightness, 0.7, 9}},
	{{opEqualize, 0.6, 0}, {opEqualize, 0.5, 0}},
	{{opContrast, 0.6, 7}, {opSharpness, 0.6, 5}},
	{{opColor, 0.7, 7}, {opTranslateX, 0.5, 8}},
	{{opEqualize, 0.3, 0}, {opAutoContrast, 0.4, 0}},
	{{opTranslateY, 0.4, 3}, {opSharpness, 0.2, 6}},
	{{opBrightness, 0.9, 6}, {opColor, 0.2, 8}},
	{{opSolarize, 0.5, 2}, {opInvert, 0.0, 0}},
	{{opEqualize, 0.2, 0}, {opAutoContrast, 0.6, 0}},
	{{opEqualize, 0.2, 0}, {opEqualize, 0.6, 0}},
	{{opColor, 0.9, 9}, {opEqualize, 0.6, 0}},
	{{opAutoContrast, 0.8, 0}, {opSolarize, 0.2, 8}},
	{{opBrightness, 0.1, 3}, {opColor, 0.7, 0}},
	{{opSolarize, 0.4, 5}, {opAutoContrast, 0.9, 0}},
	{{opTranslateY, 0.9, 9}, {opTranslateY, 0.7, 9}},
	{{opAutoContrast, 0.9, 0}, {opSolarize, 0.8, 3}},
	{{opEqualize, 0.8, 0}, {opInvert, 0.1, 0}},
	{{opTranslateY, 0.7, 9}, {opAutoContrast, 0.9, 0}},
}

var imageNetPolicies = [][2]step{
	{{opPosterize, 0.4, 8}, {opRotate, 0.6, 9}},
	{{opSolarize, 0.6, 5}, {opAutoContrast, 0.6, 0}},
	{{opEqualize, 0.8, 0}, {opEqualize, 0.6, 0}},
	{{opPosterize, 0.6, 7}, {opPosterize, 0.6, 6}},
	{{opEqualize, 0.4, 0}, {opSolarize, 0.2, 4}},
	{{opEqualize, 0.4, 0}, {opRotate, 0.8, 8}},
	{{opSolarize, 0.6, 3}, {opEqualize, 0.6, 0}},
	{{opPosterize, 0.8, 5}, {opEqualize, 1.0, 0}},
	{{opRotate, 0.2, 3}, {opSolarize, 0.6, 8}},
	{{opEqualize, 0.6, 0}, {opPosterize, 0.4, 6}},
	{{opRotate, 0.8, 8}, {opColor, 0.4, 0}},
	{{opRotate, 0.4, 9}, {opEqualize, 0.6, 0}},
	{{opEqualize, 0.0, 0}, {opEqualize, 0.8, 0}},
	{{opInvert, 0.6, 0}, {opEqualize, 1.0, 0}},
	{{opColor, 0.6, 4}, {opContrast, 1.0, 8}},
	{{opRotate, 0.8, 8}, {opColor, 1.0, 2}},
	{{opColor, 0.8, 8}, {opSolarize, 0.8, 7}},
	{{opSharpness, 0.4, 7}, {opInvert, 0.6, 0}},
	{{opShearX, 0.6, 5}, {opEqualize, 1.0, 0}},
	{{opColor, 0.4, 0}, {opEqualize, 0.6, 0}},
	{{opEqualize, 0.4, 0}, {opSolarize, 0.2, 4}},
	{{opSolarize, 0.6, 5}, {opAutoContrast, 0.6, 0}},
	{{opInvert, 0.6, 0}, {opEqualize, 1.0, 0}},
	{{opColor, 0.6, 4}, {opContrast, 1.0, 8}},
	{{opEqualize, 0.8, 0}, {opEqualize, 0.6, 0}},
}
