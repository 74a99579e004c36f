package export

import (
	"fmt"
	"math"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// Model is a trained network and what is needed to use it.
type Model struct {
	// Spec is the network's, defaulted.
	Spec v1.ModelSpec
	// State is its state dict: F32, and I64 for num_batches_tracked.
	State checkpoint.StateDict
	// Mean and Std normalise the input, one value for each of its channels: (pixel − Mean) / Std, with pixels in [0, 1].
	Mean, Std []float64
	// Classes are the names of the first outputs; there may be more outputs.
	Classes []string
	// Height and Width in pixels of the images it was trained on.
	Height, Width int
	// Resize is how long the shorter side of a picture was made before; 0: as long as still covers that.
	Resize int
	// Metadata is added to that of model.safetensors.
	Metadata map[string]string
	// Calibration is for model.int8.onnx; nil if that is not to be written.
	Calibration *quant.Calibration
}

// Check fails, naming the key, if State is not the state dict of the network that Spec describes, or the rest does not
// fit it.
func (m *Model) Check() error {
	_, err := m.check()
	return err
}

// check returns the network of m if the rest of m fits it.
func (m *Model) check() (*arch.Network, error) {
	if m.Height < 1 || m.Width < 1 {
		return nil, fmt.Errorf("the input is %d×%d pixels, it must be at least 1×1", m.Height, m.Width)
	}
	channels, err := m.dimension("conv1.weight", 4, 1)
	if err != nil {
		return nil, err
	}
	classes, err := m.dimension("fc.weight", 2, 0)
	if err != nil {
		return nil, err
	}
	config, err := arch.ConfigOf(m.Spec, m.Height, m.Width, channels, classes)
	if err != nil {
		return nil, err
	}
	switch {
	case len(m.Mean) != config.Channels || len(m.Std) != config.Channels:
		return nil, fmt.Errorf("mean and std have %d and %d values, the network has %d input channels", len(m.Mean), len(m.Std), config.Channels)
	case len(m.Classes) > config.Classes:
		return nil, fmt.Errorf("there are %d class names, the network has %d outputs", len(m.Classes), config.Classes)
	}
	for _, std := range m.Std {
		if !(std > 0) {
			return nil, fmt.Errorf("std is %g, it must be positive", std)
		}
	}
	n := arch.New(config)
	return n, n.CheckState(m.State)
}

// dimension returns the size of one dimension of a tensor of the state dict.
func (m *Model) dimension(name string, dims, i int) (int, error) {
	t, ok := m.State[name]
	if !ok {
		return 0, fmt.Errorf("state dict: missing key %s", name)
	}
	if len(t.Shape) != dims {
		return 0, fmt.Errorf("state dict: %s has shape %v, it must have %d dimensions", name, t.Shape, dims)
	}
	if t.Shape[i] < 1 || t.Shape[i] > math.MaxInt32 {
		return 0, fmt.Errorf("state dict: %s has shape %v: sizes must be positive", name, t.Shape)
	}
	return int(t.Shape[i]), nil
}
