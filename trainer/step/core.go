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
	trained     []state.Optimizer // the parameters that the steps of now train: see follow
	partsFrozen bool
	mean        *group.Mean // of their gradients
	criterion   libtorch.CrossEntropy
}

func newCore(st *state.State, in Inputs) (core, error) {
	n, err := newNumbers(st, in)
	if err != nil {
		return core{}, err
	}
	criterion, err := newCriterion(in, st.Net.Config.Classes)
	return core{State: st, Inputs: in, numbers: n, criterion: criterion}, err
}

// follow prepares for the parameters that a step trains, if they are others than before.
func (c *core) follow(at recipe.Point) (err error) {
	if c.trained != nil && c.partsFrozen == at.PartsFrozen {
		return nil
	}
	if c.trained, err = c.Trained(at.PartsFrozen); err != nil {
		return err
	}
	c.partsFrozen = at.PartsFrozen
	statistics := c.Net.Statistics()
	if c.Net.Synchronized() {
		statistics = nil // the same in all processes
	}
	var params []libtorch.Tensor
	for _, o := range c.trained {
		params = append(params, o.Params.Tensors...)
	}
	c.mean, err = c.Group.NewMean(params, statistics, c.Net.Observers(), c.CompressGradients)
	return err
}

// do is one step: what the device does, in its order. Nothing but its arguments comes from the host, so that it can be
// captured as a graph.
func (c *core) do(s *libtorch.Scope, b batch, rate libtorch.Rate, at recipe.Point) {
	b = c.mix(s, b)
	loss := c.gradients(s, b, at)
	c.reduce(s, loss, at)
	foundInf := c.unscale(s)
	norm := c.norms(s, loss, b.images, at)
	if max := c.Plan.ClipGradNorm; max != nil {
		s.ClipGradNorm(c.Params, norm, *max)
	}
	for _, o := range c.trained {
		o.Step(s, rate, foundInf)
	}
	if c.Scaler != nil {
		c.Scaler.Update(s)
	}
	if c.EMA != nil {
		c.EMA.Average(s, c.Net, rate)
	}
}

// gradients computes those of the loss: of the whole batch, or of one part of it after the other.
func (c *core) gradients(s *libtorch.Scope, b batch, at recipe.Point) (loss libtorch.Tensor) {
	parts := c.Plan.Parts()
	if parts == 1 {
		loss = c.forward(s, b, at)
		c.backward(s, loss)
		return loss
	}
	loss = s.Zeros(nil, libtorch.Float32, c.Device)
	for i := range parts {
		part := b.part(s, i, parts)
		share := c.forward(s, part, at)
		s.AddTo(loss, share)
		c.backward(s, share)
		s.Free(share)
		part.free(s)
	}
	return loss
}

func (c *core) forward(s *libtorch.Scope, b batch, at recipe.Point) (loss libtorch.Tensor) {
	s.Autocast(c.Device, c.DType, func() { loss = c.loss(s, c.Net.Forward(s, b.images, mode(at)), b) })
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
	if err := c.follow(at); err != nil {
		return err
	}
	if err := c.next(c.State.Step + 1); err != nil {
		return err
	}
	if at.Frozen {
		return nil
	}
	for range c.Plan.Parts() {
		c.Net.CountBatch()
	}
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
