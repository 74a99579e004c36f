package eval

import (
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/report"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
)

// sums adds up an evaluation on the device.
type sums struct {
	*Tester
	opts                        Options
	losses, int8Losses          libtorch.Tensor // Float64, one for each batch
	top1, top5, flip, confusion libtorch.Tensor // Int64: three scalars and a matrix
	int8, agreeing              libtorch.Tensor // Int64 scalars
	predictions                 libtorch.Tensor // Float64, a row of output and probability for each image
}

// maxConfusion is the number of classes up to which the confusion matrix, of 8 bytes a cell, is counted.
const maxConfusion = 4096

func (t *Tester) newSums(opts Options, batches, images int) (*sums, error) {
	u := &sums{Tester: t, opts: opts}
	outputs := int64(t.Net.Config.Classes)
	err := libtorch.Do(func(s *libtorch.Scope) {
		for _, losses := range []*libtorch.Tensor{&u.losses, &u.int8Losses} {
			*losses = s.Keep(s.Zeros([]int64{int64(batches)}, libtorch.Float64, t.Device))
		}
		for _, count := range []*libtorch.Tensor{&u.top1, &u.top5, &u.flip, &u.int8, &u.agreeing} {
			*count = s.Keep(s.Zeros(nil, libtorch.Int64, t.Device))
		}
		if u.countsConfusion() {
			u.confusion = s.Keep(s.Zeros([]int64{outputs, outputs}, libtorch.Int64, t.Device))
		}
		if opts.Predictions {
			u.predictions = s.Keep(s.Zeros([]int64{int64(images), 2}, libtorch.Float64, t.Device))
		}
	})
	return u, err
}

func (u *sums) countsConfusion() bool {
	return u.opts.Confusion && u.Net.Config.Classes <= maxConfusion
}
func (u *sums) countsTop5() bool { return len(u.Input.Classes) > 5 }

func (u *sums) add(s *libtorch.Scope, batch int, images, labels libtorch.Tensor) {
	logits := u.logits(s, images)
	s.IndexCopy(u.losses, s.Labels([]int64{int64(batch)}, u.Device), s.CrossEntropySum(logits, labels))
	s.AddTo(u.top1, s.CountCorrect(logits, labels))
	if u.countsTop5() {
		s.AddTo(u.top5, s.CountTop(logits, labels, 5))
	}
	if u.countsConfusion() {
		s.CountConfusion(u.confusion, logits, labels)
	}
	if u.opts.Int8 {
		rounded := u.logitsIn(s, images, resnet.Quantized)
		s.IndexCopy(u.int8Losses, s.Labels([]int64{int64(batch)}, u.Device), s.CrossEntropySum(rounded, labels))
		s.AddTo(u.int8, s.CountCorrect(rounded, labels))
		s.AddTo(u.agreeing, s.CountAgreeing(rounded, logits))
	}
	if u.opts.Predictions {
		s.RecordTop1(u.predictions, batch*u.BatchSize, logits)
	}
	if u.opts.FlipTTA {
		s.AddTo(logits, u.logits(s, s.Mirror(images))) // the sum has its maximum where the mean has
		s.AddTo(u.flip, s.CountCorrect(logits, labels))
	}
}

// join adds what the other processes have counted. Each of them has left losses and predictions of the others' batches 0.
func (u *sums) join() error {
	all := []libtorch.Tensor{u.losses, u.top1, u.top5, u.flip}
	if u.opts.Int8 {
		all = append(all, u.int8Losses, u.int8, u.agreeing)
	}
	if u.countsConfusion() {
		all = append(all, u.confusion)
	}
	if u.opts.Predictions {
		all = append(all, u.predictions)
	}
	return u.Group.Sum(all...)
}

// evaluation of n images.
func (u *sums) evaluation(n int) (*Evaluation, error) {
	var means [2]float64
	for i, sums := range []libtorch.Tensor{u.losses, u.int8Losses} {
		losses, err := libtorch.Values[float64](sums)
		if err != nil {
			return nil, err
		}
		for _, l := range losses { // in the order of the batches
			means[i] += l
		}
		means[i] /= float64(n)
	}
	var shares [5]float64
	for i, count := range []libtorch.Tensor{u.top1, u.top5, u.flip, u.int8, u.agreeing} {
		values, err := libtorch.Values[int64](count)
		if err != nil {
			return nil, err
		}
		shares[i] = float64(values[0]) / float64(n)
	}
	e := &Evaluation{Images: n, Loss: means[0], Top1: shares[0], Classes: u.Input.Classes}
	if u.countsTop5() {
		e.Top5 = &shares[1]
	}
	if u.opts.Int8 {
		e.Int8 = &Int8{Loss: means[1], Top1: shares[3], Agreement: shares[4]}
	}
	if u.opts.FlipTTA {
		e.FlipTTA = &shares[2]
	}
	if u.opts.Predictions {
		var err error
		if e.Predictions, err = predictions(u.predictions); err != nil {
			return nil, err
		}
	}
	if !u.countsConfusion() {
		return e, nil
	}
	counts, err := libtorch.Values[int64](u.confusion)
	if err != nil {
		return nil, err
	}
	outputs := u.Net.Config.Classes
	for i := range u.Input.Classes {
		e.Confusion = append(e.Confusion, counts[i*outputs:(i+1)*outputs])
	}
	return e, nil
}

func predictions(rows libtorch.Tensor) ([]report.Prediction, error) {
	values, err := libtorch.Values[float64](rows)
	all := make([]report.Prediction, len(values)/2)
	for i := range all {
		all[i] = report.Prediction{Output: int(values[2*i]), Confidence: values[2*i+1]}
	}
	return all, err
}
