package resnet

import (
	"encoding/binary"
	"fmt"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// StateDict copies the network's parameters and buffers, as Module.state_dict of torchvision's network.
func (n *ResNet) StateDict() (checkpoint.StateDict, error) {
	state := checkpoint.StateDict{}
	for _, e := range n.entries {
		data, err := e.bytes()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", e.Name, err)
		}
		state[e.Name] = checkpoint.Tensor{DType: e.DType, Shape: e.Shape, Data: data}
	}
	return state, nil
}

// LoadStateDict overwrites the network's parameters and buffers, as Module.load_state_dict(strict=True). The error of a
// state dict of another network names the key; nothing was overwritten then.
func (n *ResNet) LoadStateDict(state checkpoint.StateDict) error {
	if err := n.arch.CheckState(state); err != nil {
		return err
	}
	for _, e := range n.entries {
		if err := e.setBytes(state[e.Name].Data); err != nil {
			return fmt.Errorf("state dict: %s: %w", e.Name, err)
		}
	}
	return nil
}

// IsNormOrBias reports whether a parameter is a bias or a weight of a normalisation: those have one dimension.
func IsNormOrBias(p libtorch.Tensor) bool { return len(p.Shape()) == 1 }

// Parameters are what the optimiser learns, and their names, in the order of PyTorch's Module.named_parameters.
func (n *ResNet) Parameters() (names []string, params []libtorch.Tensor) {
	for _, e := range n.entries {
		if !e.Buffer {
			names, params = append(names, e.Name), append(params, e.tensor)
		}
	}
	return names, params
}

// Statistics are the running statistics of the normalisations, in the order of the state dict.
func (n *ResNet) Statistics() (statistics []libtorch.Tensor) {
	for _, e := range n.entries {
		if e.Buffer && e.counter == nil {
			statistics = append(statistics, e.tensor)
		}
	}
	return statistics
}

// CountBatch counts a batch that moved the running statistics: num_batches_tracked. Forward does not, because a graph of it is
// replayed without this program.
func (n *ResNet) CountBatch() {
	for _, counter := range n.counters {
		*counter++
	}
}

// CopyCounters makes num_batches_tracked those of another network of the same Config.
func (n *ResNet) CopyCounters(other *ResNet) {
	for i, counter := range n.counters {
		*counter = *other.counters[i]
	}
}

// Average moves the parameters and running statistics towards those of another network of the same Config:
// n = decay·n + (1 − decay)·other, with the decay of the step's rate.
func (n *ResNet) Average(s *libtorch.Scope, other *ResNet, rate libtorch.Rate) {
	var averages, weights []libtorch.Tensor
	for i, e := range n.entries {
		if e.counter == nil {
			averages, weights = append(averages, e.tensor), append(weights, other.entries[i].tensor)
		}
	}
	s.Average(averages, weights, rate)
}

// move brings all tensors to the network's device, convolutions to torch.channels_last.
func (n *ResNet) move() error {
	for _, e := range n.entries {
		if e.counter != nil {
			continue
		}
		if err := libtorch.Move(e.tensor, n.device); err != nil {
			return fmt.Errorf("moving %s to %s: %w", e.Name, n.device, err)
		}
	}
	return nil
}

// entry is one line of the state dict: a float32 tensor or a counter.
type entry struct {
	arch.Tensor
	tensor  libtorch.Tensor
	counter *int64
}

// collectEntries gathers the tensors of all layers.
func (n *ResNet) collectEntries() {
	for _, l := range n.layers() {
		n.entries = append(n.entries, l.entries()...)
	}
	n.entries = append(n.entries, entry{tensor: n.fc.Weight}, entry{tensor: n.fc.Bias})
	for i, t := range n.arch.Tensors() {
		n.entries[i].Tensor = t
		if counter := n.entries[i].counter; counter != nil {
			n.counters = append(n.counters, counter)
		}
	}
}

func (e entry) bytes() ([]byte, error) {
	if e.counter != nil {
		return binary.LittleEndian.AppendUint64(nil, uint64(*e.counter)), nil
	}
	return libtorch.Bytes(e.tensor)
}

func (e entry) setBytes(b []byte) error {
	if e.counter == nil {
		return libtorch.SetBytes(e.tensor, b)
	}
	*e.counter = int64(binary.LittleEndian.Uint64(b))
	return nil
}
