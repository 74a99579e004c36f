package pytorch

import (
	"strings"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// Network describes a network to peer.py.
func Network(c arch.Config) map[string]any {
	return map[string]any{
		"blocks": c.Blocks, "bottleneck": c.Bottleneck, "widths": c.Widths, "imagenet_stem": c.ImageNetStem,
		"groups": c.Groups, "activation": c.Activation, "zero_init_residual": c.ZeroInitResidual,
		"channels": c.Channels, "classes": c.Classes,
	}
}

// Optimizer describes the optimiser of a recipe to peer.py.
func Optimizer(r recipe.Recipe) map[string]any {
	o := r.TrainingSpec.Optimizer
	p := map[string]any{
		"type": o.Type, "lr": r.LR, "momentum": r.Momentum, "weight_decay": r.WeightDecay(false),
		"decay_norm_and_bias": r.WeightDecay(true) == r.WeightDecay(false), "dampening": r.Dampening,
		"nesterov": r.Nesterov, "eps": o.Eps, "lr_multipliers": r.LRMultipliers,
	}
	if o.Type == v1.AdamW {
		p["beta2"] = o.Betas[1]
	}
	return p
}

// Schedule describes the schedule of a recipe of so many steps to peer.py.
func Schedule(r recipe.Recipe, stepsPerEpoch int) map[string]any {
	s := r.Schedule
	warmup := int(s.WarmupEpochs * float64(stepsPerEpoch))
	args := map[string]any{}
	switch s.Type {
	case v1.OneCycle:
		args = map[string]any{
			"max_lr": s.MaxLR, "pct_start": *s.PctStart, "div_factor": s.DivFactor,
			"final_div_factor": s.FinalDivFactor,
			"cycle_momentum":   *s.CycleMomentum, "base_momentum": *s.BaseMomentum, "max_momentum": *s.MaxMomentum,
			"three_phase": *s.ThreePhase, "anneal_strategy": strings.ToLower(string(s.AnnealStrategy)),
		}
		if s.AnnealStrategy == "" {
			delete(args, "anneal_strategy")
		}
	case v1.CosineWarmRestarts:
		args = map[string]any{"T_0": int(*s.RestartEpochs) * stepsPerEpoch, "T_mult": *s.RestartMultiplier, "eta_min": *s.MinLR}
	case v1.Polynomial:
		args["power"] = *s.Power
	case v1.Cosine:
		args["eta_min"] = *s.MinLR
	case v1.Step:
		var milestones []int
		for _, m := range s.Milestones {
			milestones = append(milestones, int(m)*stepsPerEpoch-warmup)
		}
		args = map[string]any{"milestones": milestones, "gamma": *s.Gamma}
	}
	return map[string]any{
		"optimizer": Optimizer(r), "type": s.Type, "steps": int(r.Epochs) * stepsPerEpoch, "warmup": warmup,
		"start_factor": *s.WarmupStartFactor, "args": args,
	}
}
