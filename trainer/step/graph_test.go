package step

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
	"github.com/resnet-operator/resnet-operator/trainer/state"
)

// graphOf a training with an augmentation.
func graphOf(t *testing.T, a v1.AugmentationSpec) *graph {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	spec := v1.ResNetTrainingJobSpec{
		Model:   v1.ModelSpec{WidthMultiplier: 0.125, Stem: v1.StemCIFAR},
		Dataset: v1.DatasetSpec{Format: v1.Synthetic, MaxTrainImages: new(int32(64)), MaxTestImages: new(int32(20))},
		Training: v1.TrainingSpec{
			Epochs: 2, BatchSize: 8, Seed: -3, Augmentation: a, Schedule: v1.ScheduleSpec{Type: v1.Constant},
			Optimizer: v1.OptimizerSpec{Type: v1.AdamW, Betas: []float64{0.9, 0.999}, Eps: 1e-8},
		},
	}
	d, err := data.Load(t.Context(), data.Source{DatasetSpec: spec.Dataset, Seed: spec.Training.Seed})
	must(t, err)
	plan, err := recipe.NewPlan(&spec, d.Train.N, 0)
	must(t, err)
	loader, err := data.NewLoader(d, int(plan.BatchSize), a, plan.Seed)
	must(t, err)
	shape := d.Shape()
	config, err := arch.ConfigOf(spec.Model, shape.H, shape.W, shape.C, shape.Classes)
	must(t, err)
	st, err := state.New(config, &plan.Recipe, libtorch.CUDA, libtorch.Float32)
	must(t, err)
	g, err := newGraph(st, Inputs{Plan: plan, Data: d, Loader: loader, Device: libtorch.CUDA, DType: libtorch.Float32})
	must(t, err)
	return g
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGPUBatches compares the batches that a GPU makes with those of the loader, bit by bit.
func TestGPUBatches(t *testing.T) {
	if !libtorch.HasKernels(libtorch.CUDA) {
		t.Skip("built without kernels for a GPU")
	}
	for name, a := range map[string]v1.AugmentationSpec{
		"none":            {RandomCropPadding: new(int32(0)), HorizontalFlip: new(false)},
		"default":         {RandomCropPadding: new(int32(4)), HorizontalFlip: new(true)},
		"reflect, cutout": {RandomCropPadding: new(int32(3)), PaddingMode: v1.PaddingReflect, HorizontalFlip: new(true), Cutout: 9},
		"by the loader":   {RandomCropPadding: new(int32(4)), HorizontalFlip: new(true), Policy: v1.TrivialAugmentWide},
	} {
		t.Run(name, func(t *testing.T) {
			g := graphOf(t, a)
			if want := a.Policy == ""; g.resident != want {
				t.Fatalf("data set on the GPU: %t", g.resident)
			}
			for epoch := range int32(2) {
				must(t, g.begin(epoch, 0))
				for batch := range g.Loader.Epoch(t.Context(), epoch, 0) {
					if !g.resident {
						must(t, g.batches.SetImages(batch.Pixels, batch.Labels))
					}
					compareBatch(t, g, batch)
				}
			}
		})
	}
}

// compareBatch compares the GPU's batch of the next step.
func compareBatch(t *testing.T, g *graph, batch data.Batch) {
	t.Helper()
	must(t, libtorch.Do(func(s *libtorch.Scope) {
		images, labels := g.batches.At(s, g.clock)
		im := &g.Data.Train
		wantImages := s.Images(batch.Pixels, batch.N, im.H, im.W, g.Data.Mean, g.Data.Std, libtorch.CPU)
		s.Increment(g.clock)
		got, err1 := libtorch.Bytes(images)
		want, err2 := libtorch.Bytes(wantImages)
		if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("other images than the loader's: %v %v", err1, err2)
		}
		classes, err := libtorch.Values[int64](labels)
		if err != nil || !slices.Equal(classes, batch.Labels) {
			t.Errorf("labels %v, the loader's are %v: %v", classes, batch.Labels, err)
		}
	}))
}

// TestGPUStepWithoutGraph: where a step cannot be captured, or shall not be, the training goes on, to the same weights.
func TestGPUStepWithoutGraph(t *testing.T) {
	if !libtorch.HasKernels(libtorch.CUDA) {
		t.Skip("built without kernels for a GPU")
	}
	must(t, libtorch.SetDeterministic(true))
	defer libtorch.SetDeterministic(false)
	captures := 0
	defer func(f func(func(*libtorch.Scope)) (*libtorch.Graph, error)) { capture = f }(capture)
	weights := func(c func(func(*libtorch.Scope)) (*libtorch.Graph, error)) []byte {
		capture = func(f func(*libtorch.Scope)) (*libtorch.Graph, error) { captures++; return c(f) }
		g := graphOf(t, v1.AugmentationSpec{RandomCropPadding: new(int32(4)), HorizontalFlip: new(true)})
		for batch := range g.Batches(t.Context(), 0, 0) {
			must(t, g.Do(batch, g.Plan.At(g.State.Step)))
			g.Advance()
		}
		state, err := g.Net.StateDict()
		must(t, err)
		encoded, err := checkpoint.EncodeSafetensors(state, nil)
		must(t, err)
		return encoded
	}
	want := weights(libtorch.Capture)
	failing := weights(func(func(*libtorch.Scope)) (*libtorch.Graph, error) { return nil, errors.New("not permitted") })
	if captures != 2 {
		t.Errorf("%d captures: one that fails is tried once", captures)
	}
	t.Setenv(envGraph, "off")
	for name, got := range map[string][]byte{"after a failure": failing, "switched off": weights(libtorch.Capture)} {
		if !bytes.Equal(got, want) {
			t.Errorf("%s: other weights than by the graph", name)
		}
	}
	if captures != 2 {
		t.Error("captured although it was switched off")
	}
}
