package export

import (
	"fmt"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
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
	// Metadata is added to that of model.safetensors.
	Metadata map[string]string
}

// Check fails, naming the key, if State is not the state dict of the network that Spec describes, or the rest does not
// fit it.
func (m *Model) Check() error {
	_, err := m.check()
	return err
}

// check returns the network of m if the rest of m fits it.
func (m *Model) check() (*network, error) {
	n, err := networkOf(m.Spec, m.State)
	if err != nil {
		return nil, err
	}
	switch {
	case len(m.Mean) != n.channels || len(m.Std) != n.channels:
		return nil, fmt.Errorf("mean and std have %d and %d values, the network has %d input channels", len(m.Mean), len(m.Std), n.channels)
	case len(m.Classes) > n.classes:
		return nil, fmt.Errorf("there are %d class names, the network has %d outputs", len(m.Classes), n.classes)
	case m.Height < 1 || m.Width < 1:
		return nil, fmt.Errorf("the input is %d×%d pixels, it must be at least 1×1", m.Height, m.Width)
	}
	for _, std := range m.Std {
		if !(std > 0) {
			return nil, fmt.Errorf("std is %g, it must be positive", std)
		}
	}
	return n, nil
}
