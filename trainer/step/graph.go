package step

import (
	"context"
	"iter"

	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/state"
)

// graph makes the steps of a plan on a GPU by replaying one graph. What differs from step to step is looked up on the
// GPU by its clock: the images, the learning rate, the place for the step's numbers.
type graph struct {
	core
	batches *libtorch.Batches
	// resident: the data set is on the GPU, and augmented there. Else the loader makes the batches, and batches holds
	// one.
	resident bool

	clock libtorch.Tensor // Int64: the step in the epoch, from 0
	rates libtorch.Tensor // Float64: learning rate, momentum and decay of the average of the steps of the epoch

	captured *libtorch.Graph // of a step in a mode; nil before
	mode     resnet.Mode
	warmUp   int // steps to make before that, in which cuDNN finds its fastest algorithms

	beginErr error // of the last call of Batches
}

const warmUp = 3

// staysOnGPU reports whether so many bytes of images may stay on the GPU: half of what is free there is for the
// training.
func staysOnGPU(bytes int) bool {
	memory, err := libtorch.DeviceMemory()
	return err == nil && int64(bytes) <= memory.Free/2
}

func newGraph(st *state.State, in Inputs) (*graph, error) {
	c, err := newCore(st, in)
	if err != nil {
		return nil, err
	}
	g := &graph{core: c, warmUp: warmUp}
	im := &in.Data.Train
	source := libtorch.BatchSource{Pixels: im.Pixels, Labels: im.Labels, BatchSize: int(in.Plan.BatchSize),
		H: im.H, W: im.W, Mean: in.Data.Mean, Std: in.Data.Std}
	crops, ok := in.Loader.Crops()
	g.resident = ok && staysOnGPU(len(im.Pixels))
	if source.Shuffled = g.resident; g.resident {
		source.Seed, source.Padding, source.Reflect, source.Flip = in.Plan.Seed, crops.Padding, crops.Reflect,
			crops.Flip
		source.Cutout, source.Fill = crops.Cutout, crops.Fill
	} else {
		source.Pixels, source.Labels = im.Pixels[:source.BatchSize*im.H*im.W*im.C], im.Labels[:source.BatchSize]
	}
	if g.batches, err = libtorch.NewBatches(source); err != nil {
		return nil, err
	}
	err = libtorch.Do(func(s *libtorch.Scope) {
		g.clock = s.Keep(s.Zeros([]int64{1}, libtorch.Int64, in.Device))
		g.rates = s.Keep(s.Zeros([]int64{int64(in.Plan.StepsPerEpoch), 3}, libtorch.Float64, in.Device))
	})
	return g, err
}

// Batches also tells the GPU what the steps of the epoch need. Batches that are made on the GPU are empty here.
func (g *graph) Batches(ctx context.Context, epoch int32, first int) iter.Seq[data.Batch] {
	g.beginErr = g.begin(epoch, first)
	if !g.resident {
		return g.Loader.Epoch(ctx, epoch, first)
	}
	return func(yield func(data.Batch) bool) {
		for step := first; step < g.Plan.StepsPerEpoch && ctx.Err() == nil; step++ {
			if !yield(data.Batch{N: int(g.Plan.BatchSize)}) {
				return
			}
		}
	}
}

func (g *graph) begin(epoch int32, first int) error {
	rates := make([]float64, 0, 3*g.Plan.StepsPerEpoch)
	for i := range int64(g.Plan.StepsPerEpoch) {
		at := g.Plan.At(int64(epoch)*int64(g.Plan.StepsPerEpoch) + i)
		rates = append(rates, at.LR, at.Momentum, at.Decay)
	}
	if err := libtorch.Upload(g.rates, rates); err != nil {
		return err
	}
	if err := libtorch.Upload(g.clock, []int64{int64(first)}); err != nil || !g.resident {
		return err
	}
	return g.batches.Begin(epoch, g.Loader.Order(epoch))
}

// Do asks the GPU for a step, and waits for none.
func (g *graph) Do(batch data.Batch, at recipe.Point) (err error) {
	if g.beginErr != nil {
		return g.beginErr
	}
	if err := g.count(at); err != nil {
		return err
	}
	if !g.resident {
		if err := g.batches.SetImages(batch.Pixels, batch.Labels); err != nil {
			return err
		}
	}
	if mode := mode(at); mode != g.mode {
		g.captured, g.mode, g.warmUp = nil, mode, warmUp
	}
	work := func(s *libtorch.Scope) {
		images, labels := g.batches.At(s, g.clock)
		g.do(s, images, labels, libtorch.Rate{Device: s.IndexSelect(g.rates, g.clock)}, at)
		s.Increment(g.clock)
	}
	if g.captured == nil && g.warmUp > 0 {
		g.warmUp--
		return libtorch.Do(work)
	}
	if g.captured == nil {
		if g.captured, err = libtorch.Capture(work); err != nil {
			return err
		}
	}
	return g.captured.Replay()
}
