package trainer

import (
	"context"
	"iter"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
)

// gpuSteps makes the steps of a run on a GPU by replaying one graph. What differs from step to step is looked up on the GPU by
// its clock: the images, the learning rate, the place for the step's numbers.
type gpuSteps struct {
	batches *libtorch.Batches
	// resident: the data set is on the GPU, and augmented there. Else the loader makes the batches, and batches holds one.
	resident bool

	clock libtorch.Tensor // Int64: the step in the epoch, from 0
	rates libtorch.Tensor // Float64: learning rate, momentum and decay of the average of the steps of the epoch

	graph  *libtorch.Graph // of a step in mode; nil before it was captured
	mode   resnet.Mode
	warmUp int // steps to make before that, in which cuDNN finds its fastest algorithms
}

const gpuWarmUp = 3

// staysOnGPU reports whether so many bytes of images may stay on the GPU: half of what is free there is for the training.
func staysOnGPU(bytes int) bool {
	memory, err := libtorch.DeviceMemory()
	return err == nil && int64(bytes) <= memory.Free/2
}

// newGPUSteps returns nil if there are no kernels of our own for the device.
func (r *run) newGPUSteps() (g *gpuSteps, err error) {
	if !libtorch.HasKernels(r.device) {
		return nil, nil
	}
	im := &r.data.Train
	source := libtorch.BatchSource{
		Pixels: im.Pixels, Labels: im.Labels, BatchSize: int(r.spec.BatchSize), H: im.H, W: im.W, Mean: r.data.Mean, Std: r.data.Std,
	}
	crops, ok := r.loader.Crops()
	g = &gpuSteps{warmUp: gpuWarmUp, resident: ok && staysOnGPU(len(im.Pixels))}
	if source.Shuffled = g.resident; g.resident {
		source.Seed, source.Padding, source.Reflect, source.Flip = r.spec.Seed, crops.Padding, crops.Reflect, crops.Flip
		source.Cutout, source.Fill = crops.Cutout, crops.Fill
	} else {
		source.Pixels, source.Labels = im.Pixels[:source.BatchSize*im.H*im.W*im.C], im.Labels[:source.BatchSize]
	}
	if g.batches, err = libtorch.NewBatches(source); err != nil {
		return nil, err
	}
	err = libtorch.Do(func(s *libtorch.Scope) {
		g.clock = s.Keep(s.Zeros([]int64{1}, libtorch.Int64, r.device))
		g.rates = s.Keep(s.Zeros([]int64{int64(r.loader.StepsPerEpoch()), 3}, libtorch.Float64, r.device))
	})
	return g, err
}

// batches yields the batches that are left of the current epoch. If they are made on the GPU, they are empty here.
func (r *run) batches(ctx context.Context) iter.Seq[data.Batch] {
	if r.gpu == nil || !r.gpu.resident {
		return r.loader.Epoch(ctx, r.meta.Epoch, r.meta.StepInEpoch)
	}
	return func(yield func(data.Batch) bool) {
		for step := r.meta.StepInEpoch; step < r.loader.StepsPerEpoch() && ctx.Err() == nil; step++ {
			if !yield(data.Batch{N: int(r.spec.BatchSize)}) {
				return
			}
		}
	}
}

// beginEpoch tells the GPU what the steps of the current epoch need.
func (g *gpuSteps) beginEpoch(r *run) error {
	rates := make([]float64, 0, 3*r.loader.StepsPerEpoch())
	for i := range r.loader.StepsPerEpoch() {
		step := r.meta.Step - int64(r.meta.StepInEpoch) + int64(i)
		lr, momentum := r.schedule(step)
		rates = append(rates, lr, momentum, r.averageDecay(step))
	}
	if err := libtorch.Upload(g.rates, rates); err != nil {
		return err
	}
	if err := libtorch.Upload(g.clock, []int64{int64(r.meta.StepInEpoch)}); err != nil || !g.resident {
		return err
	}
	return g.batches.Begin(r.meta.Epoch, r.loader.Order(r.meta.Epoch))
}

// step asks the GPU for a step, and waits for none.
func (g *gpuSteps) step(r *run, batch data.Batch) (err error) {
	if !g.resident {
		if err := g.batches.SetImages(batch.Pixels, batch.Labels); err != nil {
			return err
		}
	}
	if mode := r.mode(r.meta.Step); mode != g.mode {
		g.graph, g.mode, g.warmUp = nil, mode, gpuWarmUp
	}
	work := func(s *libtorch.Scope) { g.work(s, r) }
	if g.graph == nil && g.warmUp > 0 {
		g.warmUp--
		return libtorch.Do(work)
	}
	if g.graph == nil {
		if g.graph, err = libtorch.Capture(work); err != nil {
			return err
		}
	}
	return g.graph.Replay()
}

// work is a step, in which nothing comes from the host.
func (g *gpuSteps) work(s *libtorch.Scope, r *run) {
	images, labels := g.batches.At(s, g.clock)
	r.update(s, images, labels, libtorch.Rate{Device: s.IndexSelect(g.rates, g.clock)})
	s.Increment(g.clock)
}

// newGPUOptimizer makes the optimiser of the recipe for kernels of our own.
func (r *run) newGPUOptimizer() (libtorch.Optimizer, error) {
	if r.spec.Optimizer.Type == v1.SGD {
		return libtorch.NewDeviceSGD(r.params, r.recipe.dampening, r.recipe.nesterov)
	}
	return libtorch.NewDeviceAdamW(r.params, r.spec.Optimizer.Betas[1], r.spec.Optimizer.Eps)
}

// rate of a step that is not captured.
func (r *run) rate(s *libtorch.Scope, lr, momentum float64) libtorch.Rate {
	rate := libtorch.Rate{LR: lr, Momentum: momentum, Decay: r.averageDecay(r.meta.Step)}
	if r.gpu != nil {
		rate.Device = s.Upload([]float64{lr, momentum, rate.Decay})
	}
	return rate
}

// averageDecay behind a step; 0 without an average.
func (r *run) averageDecay(step int64) float64 {
	if r.spec.EMA == nil {
		return 0
	}
	return averageDecay(*r.spec.EMA.Decay, step)
}
