package eval

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// TestUpdateStatistics compares the statistics of three batches with those of update_bn. A fourth batch is too small to count.
func TestUpdateStatistics(t *testing.T) {
	const seed, batches, batchSize, size, channels = 42, 3, 8, 32, 3
	config, err := arch.ConfigOf(v1.ModelSpec{WidthMultiplier: 0.125}, size, size, channels, 7)
	if err != nil {
		t.Fatal(err)
	}
	pixels := make([]byte, (batches+1)*batchSize*size*size*channels)
	rand.NewChaCha8([32]byte{1}).Read(pixels)
	n := len(pixels) / (batches + 1) // numbers of a batch
	mean, std := []float32{0.49, 0.48, 0.45}, []float32{0.2, 0.19, 0.21}
	params := pytorch.Network(config)
	params["seed"], params["mean"], params["std"], params["precisions"] = seed, mean, std, []string{"float64", "float32"}
	want := pytorch.Call(t, "update_bn", params, checkpoint.StateDict{"pixels": pytorch.Pack(pixels[:batches*n], batches, batchSize, size, size, channels)})

	net, err := resnet.New(config, seed, libtorch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	tester := Tester{Net: net, Device: libtorch.CPU, DType: libtorch.Float32, BatchSize: batchSize,
		Input: checkpoint.Input{Mean: mean, Std: std}}
	im := &data.Images{H: size, W: size, C: channels}
	sample := func(yield func(data.Batch, error) bool) {
		for i := range batches + 1 {
			b := data.Batch{Pixels: pixels[i*n : (i+1)*n], N: batchSize}
			if i == batches {
				b = data.Batch{Pixels: b.Pixels[:n/2], N: batchSize / 2}
			}
			if !yield(b, nil) {
				return
			}
		}
	}
	for range 2 { // what was there before does not matter
		if err := tester.UpdateStatistics(t.Context(), im, sample); err != nil {
			t.Fatal(err)
		}
		state, err := net.StateDict()
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for key, tensor := range state {
			if !strings.Contains(key, "running_") {
				continue
			}
			theirs, exact := pytorch.Floats(want["float32."+key]), pytorch.Floats(want["float64."+key])
			pytorch.AsExact(t, key, pytorch.Floats(tensor), theirs, exact, 2, pytorch.Roundings(50))
			compared++
		}
		if compared != len(want)/2 {
			t.Errorf("%d statistics, PyTorch has %d", compared, len(want)/2)
		}
	}

	unreadable := errors.New("unreadable")
	err = tester.UpdateStatistics(t.Context(), im, func(yield func(data.Batch, error) bool) { yield(data.Batch{}, unreadable) })
	if !errors.Is(err, unreadable) {
		t.Errorf("images that cannot be read: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := tester.UpdateStatistics(stopped, im, sample); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}
