package arch

import (
	"fmt"
	"maps"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// Tensor is a line of the state dict: F32, or I64 for num_batches_tracked.
type Tensor struct {
	Name, DType string
	Shape       []int64
	// Buffer says that it is not trained.
	Buffer bool
}

// Elements is their number.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, size := range t.Shape {
		n *= size
	}
	return n
}

// Tensors of the network, in the order of PyTorch's Module.state_dict.
func (n *Network) Tensors() (all []Tensor) {
	for _, l := range n.layers() {
		all = append(all,
			Tensor{l.Conv + ".weight", "F32", []int64{l.Out, l.In, l.Kernel, l.Kernel}, false},
			Tensor{l.Norm + ".weight", "F32", []int64{l.Out}, false},
			Tensor{l.Norm + ".bias", "F32", []int64{l.Out}, false})
		if n.Config.Groups == 0 {
			all = append(all,
				Tensor{l.Norm + ".running_mean", "F32", []int64{l.Out}, true},
				Tensor{l.Norm + ".running_var", "F32", []int64{l.Out}, true},
				Tensor{l.Norm + ".num_batches_tracked", "I64", []int64{}, true})
		}
	}
	features, classes := n.Features(), int64(n.Config.Classes)
	return append(all, Tensor{"fc.weight", "F32", []int64{classes, features}, false}, Tensor{"fc.bias", "F32", []int64{classes}, false})
}

// Parameters is the number of trained values.
func (n *Network) Parameters() (count int64) {
	for _, t := range n.Tensors() {
		if !t.Buffer {
			count += t.Elements()
		}
	}
	return count
}

// CheckState fails, naming the key, if state has not exactly the network's tensors, as Module.load_state_dict(strict=True).
func (n *Network) CheckState(state checkpoint.StateDict) error {
	if err := n.Config.CheckArchitecture(state); err != nil {
		return err
	}
	unexpected := maps.Clone(state)
	for _, want := range n.Tensors() {
		t, ok := state[want.Name]
		if !ok {
			return fmt.Errorf("state dict: missing key %s", want.Name)
		}
		if t.DType != want.DType || !slices.Equal(t.Shape, want.Shape) {
			return fmt.Errorf("state dict: %s is %s%v, the network needs %s%v", want.Name, t.DType, t.Shape, want.DType, want.Shape)
		}
		size := want.Elements() * map[string]int64{"F32": 4, "I64": 8}[want.DType]
		if int64(len(t.Data)) != size {
			return fmt.Errorf("state dict: %s has %d bytes, the network needs %d", want.Name, len(t.Data), size)
		}
		delete(unexpected, want.Name)
	}
	if len(unexpected) > 0 {
		return fmt.Errorf("state dict: unexpected key %s", slices.Min(slices.Collect(maps.Keys(unexpected))))
	}
	return nil
}

// CheckArchitecture fails if state is that of another architecture, and names both.
func (c Config) CheckArchitecture(state checkpoint.StateDict) error {
	is, want := architectureOf(state), c.architecture()
	if is == "" || want == "" || is == want {
		return nil
	}
	return fmt.Errorf("state dict: it is of the architecture %s, spec.model.architecture is %s", is, want)
}

// architecture is "" if it has no name.
func (c Config) architecture() v1.Architecture {
	for name, a := range architectures {
		if slices.Equal(a.blocks, c.Blocks) && a.bottleneck == c.Bottleneck {
			return name
		}
	}
	return ""
}

// architectureOf is the one whose convolutions a state dict has, by their names; "" if there is none.
func architectureOf(state checkpoint.StateDict) v1.Architecture {
	convolutions := 0
	for _, t := range state {
		if len(t.Shape) == 4 {
			convolutions++
		}
	}
	for name, a := range architectures {
		layers := New(Config{Blocks: a.blocks, Bottleneck: a.bottleneck, Widths: widths(1)}).layers()
		lacks := func(l Layer) bool { return len(state[l.Conv+".weight"].Shape) != 4 }
		if len(layers) == convolutions && !slices.ContainsFunc(layers, lacks) {
			return name
		}
	}
	return ""
}
