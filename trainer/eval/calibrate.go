package eval

import (
	"context"
	"iter"

	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
)

// Calibrate measures the range of every value between the layers on batches of images of im's size. It computes in
// float32, whatever DType says: an exported model does.
func (t *Tester) Calibrate(ctx context.Context, im *data.Images, batches iter.Seq2[data.Batch, error]) (
	*quant.Calibration, error) {
	c := &quant.Calibration{}
	for batch, err := range batches {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		err = libtorch.Do(func(s *libtorch.Scope) {
			s.NoGrad(func() {
				images := s.Images(batch.Pixels, batch.N, im.H, im.W, t.Input.Mean, t.Input.Std, t.Device)
				t.Net.Observe(s, images, func(value string, x libtorch.Tensor) { s.Fail(observe(s, c, value, x)) })
			})
		})
		if err != nil {
			return nil, err
		}
		c.Images += batch.N
	}
	return c, ctx.Err()
}

// observe adds the range of x to c.
func observe(s *libtorch.Scope, c *quant.Calibration, value string, x libtorch.Tensor) error {
	ends := s.AMinMax(x)
	defer s.Free(ends)
	if err := s.Err(); err != nil {
		return err
	}
	r, err := libtorch.Values[float32](ends)
	if err == nil {
		c.Add(value, quant.Range{Min: r[0], Max: r[1]})
	}
	return err
}
