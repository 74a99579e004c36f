package step

import (
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/state"
)

// core is what a step does, however it is made.
type core struct {
	*state.State
	Inputs
	*numbers
	mean *group.Mean
}

func newCore(st *state.State, in Inputs) (core, error) {
	n, err := newNumbers(st, in)
	if err != nil {
		return core{}, err
	}
	statistics := st.Net.Statistics()
	if st.Net.Synchronized() {
		statistics = nil // the same in all processes
	}
	mean, err := in.Group.NewMean(st.Params.Tensors, statistics, st.Net.Observers(), in.CompressGradients)
	return core{st, in, n, mean}, err
}

// do is one step: what the device does, in its order. Nothing but its arguments comes from the host, so that it can be
// captured as a graph.
func (c *core) do(s *libtorch.Scope, images, labels libtorch.Tensor, rate libtorch.Rate, at recipe.Point) {
	loss := c.forward(s, images, labels, at)
	c.backward(s, loss)
	c.reduce(s, loss, at)
	foundInf := c.unscale(s)
	norm := c.norms(s, loss, images, at)
	if max := c.Plan.ClipGradNorm; max != nil {
		s.ClipGradNorm(c.Params, norm, *max)
	}
	c.Optimizer.Step(s, rate, foundInf)
	if c.Scaler != nil {
		c.Scaler.Update(s)
	}
	if c.EMA != nil {
		c.EMA.Average(s, c.Net, rate)
	}
}

func (c *core) forward(s *libtorch.Scope, images, labels libtorch.Tensor, at recipe.Point) (loss libtorch.Tensor) {
	s.Autocast(c.Device, c.DType, func() {
		loss = s.CrossEntropy(c.Net.Forward(s, images, mode(at)), labels, c.Plan.LabelSmoothing)
	})
	return loss
}

// backward computes the gradients; in FP16 those of the scaled loss.
func (c *core) backward(s *libtorch.Scope, loss libtorch.Tensor) {
	if c.Scaler != nil {
		loss = c.Scaler.ScaleLoss(s, loss)
	}
	s.Backward(loss)
}

// reduce makes gradients, loss, running statistics and observed ranges the means of those of all processes.
func (c *core) reduce(s *libtorch.Scope, loss libtorch.Tensor, at recipe.Point) {
	if s.Err() == nil {
		s.Fail(c.mean.Reduce(loss, !at.Frozen, at.Observing))
	}
}

// meet lets the processes agree on whether to stop, behind every so many steps, where their sums do not tell: on a GPU.
func (c *core) meet() error {
	if c.Device == libtorch.CPU || (c.State.Step+1)%window != 0 {
		return nil
	}
	return c.Group.Meet()
}

// unscale divides the gradients by the loss scale. What it returns says whether they overflowed; it is undefined
// without a scaler.
func (c *core) unscale(s *libtorch.Scope) (foundInf libtorch.Tensor) {
	if c.Scaler == nil {
		return foundInf
	}
	c.Scaler.Unscale(s, c.Params)
	return c.Scaler.FoundInf
}

// norms notes the loss and the norms of the gradients, and returns the norm of all. On a CPU it ends the step before
// the weights are lost if they are not finite.
func (c *core) norms(s *libtorch.Scope, loss, images libtorch.Tensor, at recipe.Point) libtorch.Tensor {
	norms := s.GradNorms(c.Params)
	norm := s.Norm(norms)
	c.add(s, loss, norms, norm)
	if c.Device == libtorch.CPU && s.Err() == nil {
		s.Fail(c.fetch(func() string { return c.firstNonFinite(images, at) }))
	}
	return norm
}

// firstNonFinite names the layer in which the forward pass of a step broke.
func (c *core) firstNonFinite(images libtorch.Tensor, at recipe.Point) (layer string) {
	_ = libtorch.Do(func(s *libtorch.Scope) {
		s.Autocast(c.Device, c.DType, func() { layer = c.Net.FirstNonFinite(s, images, mode(at)) })
	})
	return layer
}

// count is what the host notes of a step that is to be made.
func (c *core) count(at recipe.Point) error {
	if err := c.next(c.State.Step + 1); err != nil {
		return err
	}
	if at.Frozen {
		return nil
	}
	c.Net.CountBatch()
	if c.EMA != nil {
		c.EMA.CopyCounters(c.Net)
	}
	return nil
}

func mode(at recipe.Point) (m resnet.Mode) {
	for _, part := range []struct {
		holds bool
		mode  resnet.Mode
	}{{!at.Frozen, resnet.Train}, {at.Quantized, resnet.Quantized}, {at.Observing, resnet.Observing}} {
		if part.holds {
			m |= part.mode
		}
	}
	return m
}
