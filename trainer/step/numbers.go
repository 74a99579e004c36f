package step

import (
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/state"
)

// numbers holds the losses and gradient norms of the last steps on the device until somebody reads them, so that a step
// need not wait for its own result.
type numbers struct {
	st   *state.State
	plan *recipe.Plan

	losses libtorch.Tensor // float32, one for each step of a window
	grads  libtorch.Tensor // float32, window×parameters
	total  libtorch.Tensor // float32: the norms of the rows of grads
	row    libtorch.Tensor // int64: where those of the next step go

	n        int       // steps that were counted since the last fetch
	last     int64     // the last of them, from 1
	finished []Numbers // fetched, and not read yet
}

// window is the number of steps after which the numbers are fetched anyhow: so late is a divergence noticed on a GPU.
// On a CPU they are fetched in every step, which costs nothing there.
const window = 32

func newNumbers(st *state.State, in Inputs) (*numbers, error) {
	n := &numbers{st: st, plan: in.Plan}
	err := libtorch.Do(func(s *libtorch.Scope) {
		n.losses = s.Keep(s.Zeros([]int64{window}, libtorch.Float32, in.Device))
		n.total = s.Keep(s.Zeros([]int64{window}, libtorch.Float32, in.Device))
		n.row = s.Keep(s.Zeros([]int64{1}, libtorch.Int64, in.Device))
		n.grads = s.Keep(s.Zeros([]int64{window, int64(len(n.st.Names))}, libtorch.Float32, in.Device))
	})
	return n, err
}

// next notes on the host that a step is to be made, whose numbers add keeps.
func (n *numbers) next(step int64) error {
	if n.n == window {
		if err := n.fetch(nil); err != nil {
			return err
		}
	}
	n.n++
	n.last = step
	return nil
}

// add keeps the numbers of the next step. It does not look at the host's count: it may be part of a graph.
func (n *numbers) add(s *libtorch.Scope, loss, norms, total libtorch.Tensor) {
	s.IndexCopy(n.losses, n.row, loss)
	s.IndexCopy(n.grads, n.row, norms)
	s.IndexCopy(n.total, n.row, total)
	s.Increment(n.row)
}

// Read implements Step.
func (n *numbers) Read(wait bool) (finished []Numbers, err error) {
	if wait {
		err = n.fetch(nil)
	}
	finished, n.finished = n.finished, nil
	return finished, err
}

// fetch takes the numbers of the last steps from the device. It is an error if one is not finite, except where the loss
// scaler skipped the step. firstNonFinite, which may be nil, names the layer in which the forward pass broke; on a GPU
// the weights have moved on since, and then it is the gradients that tell.
func (n *numbers) fetch(firstNonFinite func() string) error {
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
		case recipe.Finite(loss) && recipe.Finite(norm):
			n.finished = append(n.finished, Numbers{loss, norm})
		case n.st.Scaler != nil: // an overflow: the step is skipped
		case !recipe.Finite(loss):
			layer := ""
			if firstNonFinite != nil {
				layer = firstNonFinite()
			}
			if layer == "" {
				layer = n.nonFiniteGradient(i)
			}
			return n.plan.Diverged("the loss", loss, step, layer)
		default:
			return n.plan.Diverged("the norm of the gradients", norm, step, n.nonFiniteGradient(i))
		}
	}
	return n.checkScale()
}

// leastScale is 30 times halved from the first scale, as fairseq has it. It is not the gradients' scale then that makes
// them overflow.
const leastScale = 1e-4

// checkScale ends a run in which the loss scaler finds no scale at which nothing overflows.
func (n *numbers) checkScale() error {
	scale, err := n.st.LossScale()
	if err != nil || scale == nil || *scale >= leastScale {
		return err
	}
	return n.plan.Diverged("the loss scale", *scale, n.last, n.nonFiniteGradient(0))
}

// nonFiniteGradient names the parameter nearest to the loss whose gradient is not finite: backward came there first.
func (n *numbers) nonFiniteGradient(row int) string {
	norms, err := libtorch.Values[float32](n.grads)
	if err != nil {
		return ""
	}
	norms = norms[row*len(n.st.Names):][:len(n.st.Names)]
	for i := len(norms) - 1; i >= 0; i-- {
		if !recipe.Finite(float64(norms[i])) {
			return n.st.Names[i]
		}
	}
	return ""
}
