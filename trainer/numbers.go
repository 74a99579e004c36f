package trainer

import (
	"fmt"
	"math"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
)

// numbers holds the losses and gradient norms of the last steps on the device until somebody reads them, so that a step
// need not wait for its own result.
type numbers struct {
	losses libtorch.Tensor // float32, one for each step of a window
	norms  libtorch.Tensor // float32, window×parameters
	total  libtorch.Tensor // float32: the norms of the rows of norms
	row    libtorch.Tensor // int64: where those of the next step go
	params int
	n      int   // steps that were counted
	last   int64 // the last of them, from 1
}

// numbersWindow is the number of steps after which the numbers must be read: so late is a divergence noticed on a GPU.
// On a CPU they are read in every step, which costs nothing there.
const numbersWindow = 32

func newNumbers(params int, d libtorch.Device) (*numbers, error) {
	n := &numbers{params: params}
	err := libtorch.Do(func(s *libtorch.Scope) {
		n.losses = s.Keep(s.Zeros([]int64{numbersWindow}, libtorch.Float32, d))
		n.total = s.Keep(s.Zeros([]int64{numbersWindow}, libtorch.Float32, d))
		n.row = s.Keep(s.Zeros([]int64{1}, libtorch.Int64, d))
		n.norms = s.Keep(s.Zeros([]int64{numbersWindow, int64(params)}, libtorch.Float32, d))
	})
	return n, err
}

// count notes on the host that a step is to be made, whose numbers add keeps.
func (n *numbers) count(step int64) {
	n.n++
	n.last = step
}

// add keeps the numbers of the next step. It does not look at the host's count: it may be part of a graph.
func (n *numbers) add(s *libtorch.Scope, loss, norms, total libtorch.Tensor) {
	s.IndexCopy(n.losses, n.row, loss)
	s.IndexCopy(n.norms, n.row, norms)
	s.IndexCopy(n.total, n.row, total)
	s.Increment(n.row)
}

func (n *numbers) full() bool { return n.n == numbersWindow }

// readNumbers adds the losses and norms of the last steps to the epoch's sums, one by one, so that the sums do not
// depend on when it is called. It is an error if one is not finite, except where the loss scaler skipped the step.
// images, which may be undefined, are those of the last step if its update was not made yet.
func (r *run) readNumbers(images libtorch.Tensor) error {
	n := r.numbers
	if n.n == 0 {
		return nil
	}
	losses, err := libtorch.Values[float32](n.losses)
	if err != nil {
		return err
	}
	totals, err := libtorch.Values[float32](n.total)
	if err != nil {
		return err
	}
	count := n.n
	n.n = 0
	if err := libtorch.Upload(n.row, []int64{0}); err != nil {
		return err
	}
	for i := range count {
		loss, norm, step := float64(losses[i]), float64(totals[i]), n.last-int64(count-1-i)
		switch {
		case finite(loss) && finite(norm):
			r.meta.LossSum += loss
			r.meta.GradNormSum += norm
			r.meta.Counted++
		case r.scaler != nil: // an overflow: the step is skipped
		case !finite(loss):
			return r.diverged("the loss", loss, step, r.firstNonFinite(images, i))
		default:
			return r.diverged("the norm of the gradients", norm, step, r.nonFiniteGradient(i))
		}
	}
	return r.checkScale()
}

// checkScale ends a run in which the loss scaler finds no scale at which nothing overflows.
func (r *run) checkScale() error {
	if r.scaler == nil {
		return nil
	}
	scale, err := libtorch.Values[float32](r.scaler.Scale)
	if err != nil || scale[0] >= leastScale {
		return err
	}
	return r.diverged("the loss scale", float64(scale[0]), r.numbers.last, r.nonFiniteGradient(0))
}

// leastScale is 30 times halved from the first scale, as fairseq has it. It is not the gradients' scale then that makes
// them overflow.
const leastScale = 1e-4

// firstNonFinite names the layer in which the forward pass of a step broke. On a GPU the weights have moved on since;
// then it is the gradients that tell.
func (r *run) firstNonFinite(images libtorch.Tensor, row int) (layer string) {
	if images.T != nil {
		_ = libtorch.Do(func(s *libtorch.Scope) {
			s.Autocast(r.device, r.dtype, func() { layer = r.model.FirstNonFinite(s, images, r.mode(r.meta.Step)) })
		})
	}
	if layer == "" {
		return r.nonFiniteGradient(row)
	}
	return layer
}

// nonFiniteGradient names the parameter nearest to the loss whose gradient is not finite: backward came there first.
func (r *run) nonFiniteGradient(row int) string {
	norms, err := libtorch.Values[float32](r.numbers.norms)
	if err != nil {
		return ""
	}
	norms = norms[row*r.numbers.params:][:r.numbers.params]
	for i := len(norms) - 1; i >= 0; i-- {
		if !finite(float64(norms[i])) {
			return r.paramNames[i]
		}
	}
	return ""
}

// diverged is the end of a run whose numbers are not finite any more.
func (r *run) diverged(what string, value float64, step int64, layer string) error {
	field, lr := "spec.training.optimizer.lr", r.recipe.lr
	if r.spec.Schedule.Type == v1.OneCycle {
		field, lr = "spec.training.schedule.maxLR", r.spec.Schedule.MaxLR
	}
	if layer != "" {
		layer = ", first in " + layer
	}
	return exit.Errorf(contract.ExitDiverged, "%s is %v at step %d of %d (epoch %d)%s: the training diverged; lower %s (now %g)",
		what, value, step, r.steps(), r.meta.Epoch+1, layer, field, lr)
}

// meanLoss and meanGradNorm are those of the steps of the current epoch that were read.
func (r *run) meanLoss() float64     { return r.meta.LossSum / float64(max(1, r.meta.Counted)) }
func (r *run) meanGradNorm() float64 { return r.meta.GradNormSum / float64(max(1, r.meta.Counted)) }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// mode of the network in a step, counted from 0.
func (r *run) mode(step int64) resnet.Mode {
	if r.freezeAt >= 0 && step >= r.freezeAt {
		return resnet.TrainFrozen
	}
	return resnet.Train
}

// freezeStep is the first step, from 0, with frozen statistics; -1 if there is none.
func freezeStep(m v1.ModelSpec, steps int64) int64 {
	if m.Normalization != v1.TinyBatchNorm {
		return -1
	}
	return int64(math.Ceil(value(m.FreezeStatisticsAfter, 0.75) * float64(steps)))
}

func precisionName(t libtorch.DType) string {
	switch t {
	case libtorch.Float16:
		return "fp16"
	case libtorch.BFloat16:
		return "bf16"
	case libtorch.Float32:
		return "fp32"
	}
	return fmt.Sprint(t)
}
