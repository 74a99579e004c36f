package trainer

import (
	"context"
	"fmt"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/eval"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
)

// quantizes reports whether an export needs a calibration.
func quantizes(spec v1.ExportSpec) bool { return slices.Contains(spec.Formats, v1.ExportONNXInt8) }

// calibrate measures the ranges of the activations of a job's network on training images, drawn from the job's seed.
// w.input says how they are normalised.
//
// Errors: exit code 64 if the images are not of the kind that the weights were trained on.
func calibrate(ctx context.Context, job *v1.ResNetTrainingJob, spec v1.ExportSpec, w *weights, d *data.Dataset) (
	*quant.Calibration, error) {
	im, in := &d.Train, w.input
	if im.H != in.Height || im.W != in.Width || im.C != in.Channels {
		return nil, exit.Errorf(contract.ExitConfig,
			"the calibration of %s needs images as the weights were trained on, %d×%d×%d, but those of spec.dataset are "+
				"%d×%d×%d",
			export.ONNXInt8File, in.Height, in.Width, in.Channels, im.H, im.W, im.C)
	}
	t, err := newTester(job, *in, w)
	if err != nil {
		return nil, err
	}
	c, err := t.Calibrate(ctx, im, im.Sample(ctx, job.Spec.Training.Seed, t.BatchSize, int(spec.CalibrationBatches)))
	if err != nil {
		return nil, fmt.Errorf("calibration of %s: %w", export.ONNXInt8File, err)
	}
	return c, nil
}

// calibrateAverage measures the ranges of the average of the weights, of which training has observed none.
func (r *run) calibrateAverage(ctx context.Context, t *eval.Tester) error {
	if r.state.EMA == nil {
		return nil
	}
	im := &r.data.Train
	c, err := t.Calibrate(ctx, im, im.Sample(ctx, r.plan.Seed, t.BatchSize, int(r.plan.Quantization.CalibrationBatches)))
	if err != nil {
		return fmt.Errorf("ranges of the average of the weights: %w", err)
	}
	return r.state.SetRanges(c.Ranges)
}
