package trainer

import (
	"context"
	"math"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// trainResult is what an epoch of training gives.
type trainResult struct {
	loss            float64 // mean over the steps
	lr              float64 // of the last step
	imagesPerSecond float64
}

// trainEpoch makes the remaining steps of the current epoch. If ctx is cancelled it finishes the step under way.
func (r *run) trainEpoch(ctx context.Context) (trainResult, error) {
	r.setPhase(contract.PhaseTraining)
	r.speed.startEpoch(time.Now())
	for batch := range r.loader.Epoch(ctx, r.meta.Epoch, r.meta.StepInEpoch) {
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
	if err := r.readLosses(); err != nil {
		return trainResult{}, err
	}
	if err := ctx.Err(); err != nil {
		return trainResult{}, err
	}
	lr, _ := r.schedule.at(r.meta.Step - 1)
	return trainResult{r.meanLoss(), lr, r.speed.imagesPerSecond(time.Now())}, nil
}

// step is one step of the optimiser: forward, backward, update.
func (r *run) step(batch data.Batch) error {
	lr, beta1 := r.schedule.at(r.meta.Step)
	return libtorch.Do(func(s *libtorch.Scope) {
		images, labels := r.toDevice(s, &r.data.Train, batch)
		var loss libtorch.Tensor
		s.AutocastBF16(r.device, r.bf16, func() {
			logits := r.model.Forward(s, images, true)
			loss = s.CrossEntropy(logits, labels, r.spec.LabelSmoothing)
		})
		s.Backward(loss)
		r.optimizer.Step(s, lr, beta1)
		r.losses.add(s, loss)
	})
}

// testResult is what an evaluation gives: mean loss and top-1 accuracy over the test images.
type testResult struct{ loss, accuracy float64 }

// evalBatch is a batch size at which evaluation is fast and needs less memory than training. The result does not
// depend on it.
const evalBatch = 128

// evaluate tests the network on all test images.
func (r *run) evaluate(ctx context.Context) (result testResult, err error) {
	r.setPhase(contract.PhaseEvaluating)
	total, err := newTotal(r.device)
	if err != nil {
		return result, err
	}
	for batch := range r.data.Test.Batches(evalBatch) {
		if err := ctx.Err(); err != nil {
			return result, err
		}
		err := libtorch.Do(func(s *libtorch.Scope) {
			s.NoGrad(func() {
				images, labels := r.toDevice(s, &r.data.Test, batch)
				s.AutocastBF16(r.device, r.bf16, func() {
					logits := r.model.Forward(s, images, false)
					s.AddTo(total.loss, s.CrossEntropySum(logits, labels))
					s.AddTo(total.correct, s.CountCorrect(logits, labels))
				})
			})
		})
		if err != nil {
			return result, err
		}
	}
	result, err = total.mean(r.data.Test.N)
	if err == nil && (math.IsNaN(result.loss) || math.IsInf(result.loss, 0)) {
		err = r.diverged("the test loss", result.loss, r.meta.Step)
	}
	return result, err
}

func (r *run) toDevice(s *libtorch.Scope, im *data.Images, b data.Batch) (images, labels libtorch.Tensor) {
	return s.Images(b.Pixels, b.N, im.H, im.W, r.data.Mean, r.data.Std, r.device), s.Labels(b.Labels, r.device)
}

// diverged is the end of a run whose numbers are not finite any more.
func (r *run) diverged(what string, value float64, step int64) error {
	return exit.Errorf(contract.ExitDiverged,
		"%s is %v at step %d of %d (epoch %d): the training diverged; lower spec.training.schedule.maxLR (now %g)",
		what, value, step, r.steps(), r.meta.Epoch+1, r.spec.Schedule.MaxLR)
}
