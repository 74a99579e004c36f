package trainer

import (
	"context"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
)

// trainResult is what an epoch of training gives.
type trainResult struct {
	loss            float64 // mean over the steps
	gradNorm        float64 // likewise
	lr, momentum    float64 // of the last step
	imagesPerSecond float64
	dataWait        float64 // share of the time
}

// trainEpoch makes the remaining steps of the current epoch. If ctx is cancelled it finishes the step under way.
func (r *run) trainEpoch(ctx context.Context) (trainResult, error) {
	r.setPhase(contract.PhaseTraining)
	start, waited := time.Now(), r.loader.Waited()
	r.speed.startEpoch(start)
	if r.gpu != nil {
		if err := r.gpu.beginEpoch(r); err != nil {
			return trainResult{}, err
		}
	}
	for batch := range r.batches(ctx) {
		if err := r.step(batch); err != nil {
			return trainResult{}, err
		}
		if err := r.afterStep(); err != nil {
			return trainResult{}, err
		}
		if ctx.Err() != nil {
			break
		}
		if err := r.saver.Step(ctx, r.snapshot); err != nil {
			return trainResult{}, err
		}
	}
	if err := r.readNumbers(libtorch.Tensor{}); err != nil {
		return trainResult{}, err
	}
	if err := ctx.Err(); err != nil {
		return trainResult{}, err
	}
	lr, momentum := r.schedule(r.meta.Step - 1)
	return trainResult{
		loss: r.meanLoss(), gradNorm: r.meanGradNorm(), lr: lr, momentum: momentum,
		imagesPerSecond: r.speed.imagesPerSecond(time.Now()),
		dataWait:        min(1, float64(r.loader.Waited()-waited)/float64(time.Since(start))),
	}, nil
}

// step is one step of the optimiser: forward, backward, update.
func (r *run) step(batch data.Batch) error {
	r.count()
	if r.gpu != nil {
		return r.gpu.step(r, batch)
	}
	lr, momentum := r.schedule(r.meta.Step)
	return r.stepAt(batch, lr, momentum)
}

// stepAt is a counted step at a given rate, on any device.
func (r *run) stepAt(batch data.Batch, lr, momentum float64) error {
	return libtorch.Do(func(s *libtorch.Scope) {
		images, labels := r.toDevice(s, batch)
		r.update(s, images, labels, r.rate(s, lr, momentum))
	})
}

// count is what the host notes of a step.
func (r *run) count() {
	r.numbers.count(r.meta.Step + 1)
	if r.mode(r.meta.Step) != resnet.Train {
		return
	}
	r.model.CountBatch()
	if r.ema != nil {
		r.ema.CopyCounters(r.model)
	}
}

// update is what the device does in a step.
func (r *run) update(s *libtorch.Scope, images, labels libtorch.Tensor, rate libtorch.Rate) {
	var loss libtorch.Tensor
	s.Autocast(r.device, r.dtype, func() {
		logits := r.model.Forward(s, images, r.mode(r.meta.Step))
		loss = s.CrossEntropy(logits, labels, r.spec.LabelSmoothing)
	})
	foundInf := r.backward(s, loss)
	r.clip(s, loss, images)
	r.optimizer.Step(s, rate, foundInf)
	if r.scaler != nil {
		r.scaler.Update(s)
	}
	if r.ema != nil {
		r.ema.Average(s, r.model, rate)
	}
}

// backward computes the gradients. In FP16 the loss is scaled for it, and what it returns says whether they overflowed.
func (r *run) backward(s *libtorch.Scope, loss libtorch.Tensor) (foundInf libtorch.Tensor) {
	if r.scaler == nil {
		s.Backward(loss)
		return libtorch.Tensor{}
	}
	s.Backward(r.scaler.ScaleLoss(s, loss))
	r.scaler.Unscale(s, r.params)
	return r.scaler.FoundInf
}

// clip notes the loss and the norm of the gradients, and limits the latter. On a CPU, where it is free to look at them,
// it ends the step before the weights are lost if they are not finite.
func (r *run) clip(s *libtorch.Scope, loss, images libtorch.Tensor) {
	norms := s.GradNorms(r.params)
	norm := s.Norm(norms)
	r.numbers.add(s, loss, norms, norm)
	if r.device == libtorch.CPU && s.Err() == nil {
		s.Fail(r.readNumbers(images))
	}
	if r.spec.ClipGradNorm != nil {
		s.ClipGradNorm(r.params, norm, *r.spec.ClipGradNorm)
	}
}

func (r *run) toDevice(s *libtorch.Scope, b data.Batch) (images, labels libtorch.Tensor) {
	im := &r.data.Train
	return s.Images(b.Pixels, b.N, im.H, im.W, r.data.Mean, r.data.Std, r.device), s.Labels(b.Labels, r.device)
}
