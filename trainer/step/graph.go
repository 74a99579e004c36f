package step

import (
	"context"
	"iter"
	"log/slog"
	"os"

	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/state"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
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
	whole libtorch.Tensor // Float64: the numbers of their batches, see row; undefined if no step needs them

	captured *libtorch.Graph // of a step in a mode; nil before
	mode     resnet.Mode
	parts    bool // frozen, when it was captured
	warmUp   int  // steps to make before that, in which cuDNN finds its fastest algorithms
	eager    bool // steps are not captured

	log      *slog.Logger // these two of the last call of Batches
	beginErr error
}

const warmUp = 3

// envGraph set to off makes steps without capturing them, to find out whether that is what goes wrong.
const envGraph = "RESNET_CUDA_GRAPH"

var capture = libtorch.Capture // tests let it fail

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
	g := &graph{core: c, warmUp: warmUp, eager: os.Getenv(envGraph) == "off"}
	im := &in.Data.Train
	source := libtorch.BatchSource{Pixels: im.Pixels, Labels: im.Labels, BatchSize: in.Loader.BatchSize(),
		H: im.H, W: im.W, Mean: in.Data.Mean, Std: in.Data.Std}
	crops, ok := in.Loader.Crops()
	g.resident = ok && staysOnGPU(len(im.Pixels))
	if g.resident {
		source.Served = in.Loader.StepsPerEpoch() * in.Loader.BatchSize()
		source.Seed, source.Padding, source.Reflect, source.Flip = in.Plan.Seed, crops.Padding, crops.Reflect,
			crops.Flip
		source.Cutout, source.Fill = crops.Cutout, crops.Fill
	} else {
		source.Pixels, source.Labels = make([]byte, source.BatchSize*im.H*im.W*im.C), im.Labels[:source.BatchSize]
	}
	if g.batches, err = libtorch.NewBatches(source); err != nil {
		return nil, err
	}
	err = libtorch.Do(func(s *libtorch.Scope) {
		g.clock = s.Keep(s.Zeros([]int64{1}, libtorch.Int64, in.Device))
		g.rates = s.Keep(s.Zeros([]int64{int64(in.Plan.StepsPerEpoch), 3}, libtorch.Float64, in.Device))
		if g.needsWhole() {
			g.whole = s.Keep(s.Zeros([]int64{int64(in.Plan.StepsPerEpoch), wholeColumns}, libtorch.Float64, in.Device))
		}
	})
	return g, err
}

// Batches also tells the GPU what the steps of the epoch need. Batches that are made on the GPU are empty here.
func (g *graph) Batches(ctx context.Context, epoch int32, first int) iter.Seq[data.Batch] {
	g.log, g.beginErr = telemetry.Log(ctx), g.begin(epoch, first)
	if !g.resident {
		return g.Loader.Epoch(ctx, epoch, first)
	}
	return func(yield func(data.Batch) bool) {
		for step := first; step < g.Plan.StepsPerEpoch && ctx.Err() == nil; step++ {
			if !yield(data.Batch{N: g.Loader.BatchSize()}) {
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
	if g.needsWhole() {
		var rows []float64
		whole := g.Loader.Whole(epoch)
		for i := range g.Plan.StepsPerEpoch {
			rows = append(rows, row(whole(i), g.Group.Size())...)
		}
		if err := libtorch.Upload(g.whole, rows); err != nil {
			return err
		}
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
	if mode := mode(at); mode != g.mode || at.PartsFrozen != g.parts {
		g.captured.Close() // before another capture begins
		g.captured, g.mode, g.parts, g.warmUp = nil, mode, at.PartsFrozen, warmUp
	}
	work := func(s *libtorch.Scope) {
		images, labels := g.batches.At(s, g.clock)
		var numbers numbersOfBatch
		if g.needsWhole() {
			numbers.device = s.IndexSelect(g.whole, g.clock)
		}
		g.do(s, g.batch(images, labels, numbers), libtorch.Rate{Device: s.IndexSelect(g.rates, g.clock)}, at)
		s.Increment(g.clock)
	}
	if err = g.make(work); err == nil {
		err = g.meet()
	}
	return g.Group.Explain(err)
}

// make makes a step, by the graph if that is there.
func (g *graph) make(work func(s *libtorch.Scope)) error {
	if g.captured == nil && g.warmUp == 0 && !g.eager {
		g.capture(work)
	}
	if g.captured != nil {
		return g.captured.Replay()
	}
	g.warmUp = max(0, g.warmUp-1)
	return libtorch.Do(work)
}

// capture records a step, if it can be.
func (g *graph) capture(work func(s *libtorch.Scope)) {
	var err error
	if g.captured, err = capture(work); err == nil {
		return
	}
	g.captured, g.eager = nil, true
	g.Params.DropGrads() // which the capture may have left
	g.log.Warn("a step cannot be captured as a CUDA graph: the training goes on without, and is slower", "error", err)
}
