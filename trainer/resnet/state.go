package resnet

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// StateDict copies the network's parameters and buffers, as Module.state_dict of torchvision's resnet18.
func (n *ResNet) StateDict() (checkpoint.StateDict, error) {
	state := checkpoint.StateDict{}
	for _, e := range n.entries() {
		data, err := e.bytes()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", e.name, err)
		}
		state[e.name] = checkpoint.Tensor{DType: e.dtype(), Shape: e.shape(), Data: data}
	}
	return state, nil
}

// LoadStateDict overwrites the network's parameters and buffers, as Module.load_state_dict(strict=True). On an error,
// which names the key, it may have overwritten some of them.
func (n *ResNet) LoadStateDict(state checkpoint.StateDict) error {
	unexpected := maps.Clone(state)
	for _, e := range n.entries() {
		t, ok := state[e.name]
		if !ok {
			return fmt.Errorf("state dict: missing key %s", e.name)
		}
		if t.DType != e.dtype() || !slices.Equal(t.Shape, e.shape()) {
			return fmt.Errorf("state dict: %s is %s%v, the network needs %s%v", e.name, t.DType, t.Shape, e.dtype(), e.shape())
		}
		if err := e.setBytes(t.Data); err != nil {
			return fmt.Errorf("state dict: %s: %w", e.name, err)
		}
		delete(unexpected, e.name)
	}
	if len(unexpected) > 0 {
		return fmt.Errorf("state dict: unexpected key %s", slices.Min(slices.Collect(maps.Keys(unexpected))))
	}
	return nil
}

// IsNormOrBias reports whether a parameter is a bias or a weight of a normalisation: those have one dimension.
func IsNormOrBias(p libtorch.Tensor) bool { return len(p.Shape()) == 1 }

// Parameters are what the optimiser learns, and their names, in the order of PyTorch's Module.named_parameters.
func (n *ResNet) Parameters() (names []string, params []libtorch.Tensor) {
	for _, e := range n.entries() {
		if !e.buffer {
			names, params = append(names, e.name), append(params, e.tensor)
		}
	}
	return names, params
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
// n = decay·n + (1 − decay)·other.
func (n *ResNet) Average(s *libtorch.Scope, other *ResNet, decay float64) {
	var averages, weights []libtorch.Tensor
	others := other.entries()
	for i, e := range n.entries() {
		if e.counter == nil {
			averages, weights = append(averages, e.tensor), append(weights, others[i].tensor)
		}
	}
	s.Average(averages, weights, decay)
}

// move brings all tensors to the network's device, convolutions to torch.channels_last.
func (n *ResNet) move() error {
	for _, e := range n.entries() {
		if e.counter != nil {
			continue
		}
		if err := libtorch.Move(e.tensor, n.device); err != nil {
			return fmt.Errorf("moving %s to %s: %w", e.name, n.device, err)
		}
	}
	return nil
}

// entry is one line of the state dict: a float32 tensor or a counter.
type entry struct {
	name    string
	tensor  libtorch.Tensor
	counter *int64
	buffer  bool
}

func (e entry) dtype() string {
	if e.counter != nil {
		return "I64"
	}
	return "F32"
}

func (e entry) shape() []int64 {
	if e.counter != nil {
		return []int64{}
	}
	return e.tensor.Shape()
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
	if len(b) != 8 {
		return fmt.Errorf("%d bytes are no I64", len(b))
	}
	*e.counter = int64(binary.LittleEndian.Uint64(b))
	return nil
}

// entries of the state dict, in torchvision's order.
func (n *ResNet) entries() []entry {
	es := slices.Concat(n.conv1.entries("conv1"), n.bn1.entries("bn1"))
	for i, layer := range n.layers {
		for j, block := range layer {
			es = append(es, block.entries(blockName(i, j))...)
		}
	}
	return append(es, entry{name: "fc.weight", tensor: n.fc.Weight}, entry{name: "fc.bias", tensor: n.fc.Bias})
}

func (b *basicBlock) entries(prefix string) []entry {
	es := slices.Concat(
		b.conv1.entries(prefix+".conv1"), b.bn1.entries(prefix+".bn1"),
		b.conv2.entries(prefix+".conv2"), b.bn2.entries(prefix+".bn2"))
	if d := b.downsample; d != nil {
		es = slices.Concat(es, d.conv.entries(prefix+".downsample.0"), d.bn.entries(prefix+".downsample.1"))
	}
	return es
}

func (c *conv) entries(prefix string) []entry {
	return []entry{{name: prefix + ".weight", tensor: c.Weight}}
}

func (n *norm) entries(prefix string) []entry {
	es := []entry{{name: prefix + ".weight", tensor: n.Weight}, {name: prefix + ".bias", tensor: n.Bias}}
	if n.groups != 0 {
		return es
	}
	return append(es,
		entry{name: prefix + ".running_mean", tensor: n.RunningMean, buffer: true},
		entry{name: prefix + ".running_var", tensor: n.RunningVar, buffer: true},
		entry{name: prefix + ".num_batches_tracked", counter: &n.numBatchesTracked, buffer: true})
}
