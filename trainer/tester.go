package trainer

import (
	"context"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// tester uses a network without training it.
type tester struct {
	model     *resnet.ResNet
	device    libtorch.Device
	dtype     libtorch.DType
	input     checkpoint.Input
	flip      bool // also average over mirror images
	confusion bool // also count the confusion matrix
	progress  func(done, total int)
}

// newTester makes the network of a job with given weights, where and in the precision in which the job trains.
func newTester(job *v1.ResNetTrainingJob, input checkpoint.Input, w *weights) (*tester, error) {
	t := &tester{input: input, flip: job.Spec.Training.Evaluation.FlipTTA}
	config, err := arch.ConfigOf(job.Spec.Model, input.Height, input.Width, input.Channels, len(input.Classes))
	if err != nil {
		return nil, err
	}
	if t.device, t.dtype, err = chooseDevice(&job.Spec); err != nil {
		return nil, err
	}
	if t.model, err = resnet.New(config, 0, t.device); err != nil {
		return nil, err
	}
	if err := t.model.LoadStateDict(w.model); err != nil {
		return nil, w.doNotFit(err)
	}
	return t, nil
}

// Evaluation needs less memory than training at this batch size, and is fast. The result does not depend on it.
const evalBatch = 128

// maxConfusion is the number of classes up to which the confusion matrix, of 8 bytes a cell, is counted.
const maxConfusion = 4096

// logits of a batch, N×outputs, in float32: what is summed or averaged of them is not rounded to 16 bits.
func (t *tester) logits(s *libtorch.Scope, images libtorch.Tensor) (logits libtorch.Tensor) {
	s.Autocast(t.device, t.dtype, func() { logits = t.model.Forward(s, images, resnet.Eval) })
	return s.Float(logits)
}

// test evaluates the network on all images.
func (t *tester) test(ctx context.Context, im *data.Images) (*Evaluation, error) {
	sums, err := t.newSums()
	if err != nil {
		return nil, err
	}
	done := 0
	for batch := range im.Batches(evalBatch) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := libtorch.Do(func(s *libtorch.Scope) {
			s.NoGrad(func() {
				images := s.Images(batch.Pixels, batch.N, im.H, im.W, t.input.Mean, t.input.Std, t.device)
				sums.add(s, t, images, s.Labels(batch.Labels, t.device))
			})
		})
		if err != nil {
			return nil, err
		}
		if done += batch.N; t.progress != nil {
			t.progress(done, im.N)
		}
	}
	return sums.evaluation(t, im.N)
}

// sums adds up an evaluation on the device.
type sums struct {
	loss                        libtorch.Tensor // Float64 scalar
	top1, top5, flip, confusion libtorch.Tensor // Int64: three scalars and a matrix
}

func (t *tester) newSums() (u sums, err error) {
	outputs := int64(t.model.Config.Classes)
	err = libtorch.Do(func(s *libtorch.Scope) {
		u.loss = s.Keep(s.Zeros(nil, libtorch.Float64, t.device))
		for _, count := range []*libtorch.Tensor{&u.top1, &u.top5, &u.flip} {
			*count = s.Keep(s.Zeros(nil, libtorch.Int64, t.device))
		}
		if t.countsConfusion() {
			u.confusion = s.Keep(s.Zeros([]int64{outputs, outputs}, libtorch.Int64, t.device))
		}
	})
	return u, err
}

func (t *tester) countsConfusion() bool { return t.confusion && t.model.Config.Classes <= maxConfusion }
func (t *tester) countsTop5() bool      { return len(t.input.Classes) > 5 }

func (u *sums) add(s *libtorch.Scope, t *tester, images, labels libtorch.Tensor) {
	logits := t.logits(s, images)
	s.AddTo(u.loss, s.CrossEntropySum(logits, labels))
	s.AddTo(u.top1, s.CountCorrect(logits, labels))
	if t.countsTop5() {
		s.AddTo(u.top5, s.CountTop(logits, labels, 5))
	}
	if t.countsConfusion() {
		s.CountConfusion(u.confusion, logits, labels)
	}
	if t.flip {
		s.AddTo(logits, t.logits(s, s.Mirror(images))) // the sum has its maximum where the mean has
		s.AddTo(u.flip, s.CountCorrect(logits, labels))
	}
}

// evaluation of n images.
func (u *sums) evaluation(t *tester, n int) (*Evaluation, error) {
	loss, err := libtorch.Values[float64](u.loss)
	if err != nil {
		return nil, err
	}
	var shares [3]float64
	for i, count := range []libtorch.Tensor{u.top1, u.top5, u.flip} {
		values, err := libtorch.Values[int64](count)
		if err != nil {
			return nil, err
		}
		shares[i] = float64(values[0]) / float64(n)
	}
	e := &Evaluation{Images: n, Loss: loss[0] / float64(n), Top1: shares[0], Classes: t.input.Classes}
	if t.countsTop5() {
		e.Top5 = &shares[1]
	}
	if t.flip {
		e.FlipTTA = &shares[2]
	}
	if !t.countsConfusion() {
		return e, nil
	}
	counts, err := libtorch.Values[int64](u.confusion)
	if err != nil {
		return nil, err
	}
	outputs := t.model.Config.Classes
	for i := range t.input.Classes {
		e.Confusion = append(e.Confusion, counts[i*outputs:(i+1)*outputs])
	}
	return e, nil
}
