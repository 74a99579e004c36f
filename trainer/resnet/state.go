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

// Freeze leaves the tensors of the state dict for which frozen is true as they are in training: no gradients are computed
// of such parameters, and normalisations with such statistics go by those, as Module.eval. The others are trained.
func (n *ResNet) Freeze(frozen func(tensor string) bool) error {
	for i := range n.entries {
		e := &n.entries[i]
		if e.frozen = frozen(e.Name); e.Buffer {
			continue
		}
		if err := libtorch.RequiresGrad(e.tensor, !e.frozen); err != nil {
			return err
		}
	}
	for _, l := range n.layers() {
		l.norm.frozen = frozen(l.Norm + ".running_mean")
	}
	return nil
}

// Tensors are the names of the state dict, in its order.
func (n *ResNet) Tensors() (names []string) {
	for _, e := range n.entries {
		names = append(names, e.Name)
	}
	return names
}

// Statistics are the running statistics of the normalisations that move in training, in the order of the state dict.
func (n *ResNet) Statistics() (statistics []libtorch.Tensor) {
	for _, e := range n.entries {
		if e.Buffer && e.counter == nil && !e.frozen {
			statistics = append(statistics, e.tensor)
		}
	}
	return statistics
}

// CountBatch counts a batch that moved the running statistics: num_batches_tracked. Forward does not, because a graph of it is
// replayed without this program.
func (n *ResNet) CountBatch() {
	for _, norm := range n.norms {
		if !norm.frozen {
			norm.numBatchesTracked++
		}
	}
}

// AverageStatistics lets the pass in mode Train that follows make the running statistics the mean over its batch and so many
// before it, as momentum=None of torch.nn.BatchNorm2d; it replaces them if there are none. Other processes have no part in
// it. EndAverage ends that.
func (n *ResNet) AverageStatistics(before int) { n.setMomentum(1/float64(before+1), nil) }

// EndAverage lets passes in mode Train move the running statistics as in training again.
func (n *ResNet) EndAverage() { n.setMomentum(normMomentum, n.processes) }

func (n *ResNet) setMomentum(momentum float64, processes *libtorch.ProcessGroup) {
	for _, norm := range n.norms {
		norm.Momentum, norm.Processes = momentum, processes
	}
}

// CopyCounters makes num_batches_tracked those of another network of the same Config.
func (n *ResNet) CopyCounters(other *ResNet) {
	for i, norm := range n.norms {
		norm.numBatchesTracked = other.norms[i].numBatchesTracked
	}
}

// Average moves the parameters and running statistics towards those of another network of the same Config:
// n = decay·n + (1 − decay)·other, with the decay of the step's rate. What is frozen in other is the same in both.
func (n *ResNet) Average(s *libtorch.Scope, other *ResNet, rate libtorch.Rate) {
	var averages, weights []libtorch.Tensor
	for i, e := range n.entries {
		if e.counter == nil && !other.entries[i].frozen {
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
	frozen  bool // see Freeze
}

// collectEntries gathers the tensors of all layers.
func (n *ResNet) collectEntries() {
	for _, l := range n.layers() {
		n.entries = append(n.entries, l.entries()...)
	}
	n.entries = append(n.entries, entry{tensor: n.fc.Weight}, entry{tensor: n.fc.Bias})
	for i, t := range n.arch.Tensors() {
		n.entries[i].Tensor = t
	}
	for _, l := range n.layers() {
		if l.norm.groups == 0 {
			n.norms = append(n.norms, l.norm)
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
