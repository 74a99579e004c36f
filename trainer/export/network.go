package export

import (
	"fmt"
	"maps"
	"math"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// network is a ResNet of basic blocks as a list of its layers, with torchvision's names.
type network struct {
	spec              v1.ModelSpec
	channels, classes int // of input and output
	stem              layer
	maxPool           bool
	blocks            []block
	features          int // into fc
}

// layer is a convolution without bias, padded by half its kernel, and the normalisation behind it.
type layer struct {
	conv, norm              string
	in, out, kernel, stride int
}

// block is a basic block; downsample is nil where the shortcut is the identity.
type block struct {
	conv1, conv2 layer
	downsample   *layer
}

// blocksOf each stage (He et al., 2015, table 1).
var blocksOf = map[v1.Architecture][]int{
	v1.ResNet18: {2, 2, 2, 2},
	v1.ResNet34: {3, 4, 6, 3},
}

// networkOf returns the network that spec describes, with the channels of state. It fails, naming the key, if state is
// not the state dict of such a network.
func networkOf(spec v1.ModelSpec, state checkpoint.StateDict) (*network, error) {
	if _, ok := blocksOf[spec.Architecture]; !ok {
		return nil, fmt.Errorf("spec.model.architecture: %q is not known", spec.Architecture)
	}
	widths := make([]int, 4)
	for i := range widths {
		size, err := dimension(state, fmt.Sprintf("layer%d.0.conv1.weight", i+1), 4, 0)
		if err != nil {
			return nil, err
		}
		widths[i] = size
	}
	channels, err := dimension(state, "conv1.weight", 4, 1)
	if err != nil {
		return nil, err
	}
	classes, err := dimension(state, "fc.weight", 2, 0)
	if err != nil {
		return nil, err
	}
	n := newNetwork(spec, widths, channels, classes)
	return n, n.checkState(state)
}

// dimension returns the size of one dimension of a tensor of the state dict.
func dimension(state checkpoint.StateDict, name string, dims, i int) (int, error) {
	t, ok := state[name]
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

func newNetwork(spec v1.ModelSpec, widths []int, channels, classes int) *network {
	n := &network{spec: spec, channels: channels, classes: classes, features: widths[len(widths)-1],
		stem: layer{conv: "conv1", norm: "bn1", in: channels, out: widths[0], kernel: 3, stride: 1}}
	if spec.Stem == v1.StemImageNet {
		n.stem.kernel, n.stem.stride, n.maxPool = 7, 2, true
	}
	in := widths[0]
	for stage, count := range blocksOf[spec.Architecture] {
		out, stride := widths[stage], min(stage+1, 2)
		for i := range count {
			prefix := fmt.Sprintf("layer%d.%d.", stage+1, i)
			b := block{
				conv1: layer{conv: prefix + "conv1", norm: prefix + "bn1", in: in, out: out, kernel: 3, stride: stride},
				conv2: layer{conv: prefix + "conv2", norm: prefix + "bn2", in: out, out: out, kernel: 3, stride: 1},
			}
			if stride != 1 || in != out {
				b.downsample = &layer{prefix + "downsample.0", prefix + "downsample.1", in, out, 1, stride}
			}
			n.blocks = append(n.blocks, b)
			in, stride = out, 1
		}
	}
	return n
}

// batchNorm reports whether the normalisation is an affine map in evaluation.
func (n *network) batchNorm() bool {
	return n.spec.Normalization != v1.GroupNorm && n.spec.Normalization != v1.LayerNorm
}

// groups of the normalisation over the channels of an image: as v1.ModelSpec says.
func (n *network) groups() int {
	if n.spec.Normalization == v1.LayerNorm {
		return 1
	}
	if n.spec.NormalizationGroups != nil {
		return int(*n.spec.NormalizationGroups)
	}
	groups := 32
	for slices.ContainsFunc(n.layers(), func(l layer) bool { return l.out%groups != 0 }) {
		groups /= 2
	}
	return groups
}

// layers in the order of the state dict.
func (n *network) layers() []layer {
	all := []layer{n.stem}
	for _, b := range n.blocks {
		all = append(all, b.conv1, b.conv2)
		if b.downsample != nil {
			all = append(all, *b.downsample)
		}
	}
	return all
}

// parameters of the network: what was trained, without buffers.
func (n *network) parameters() (count int64) {
	for _, l := range n.layers() {
		count += int64(l.out*l.in*l.kernel*l.kernel + 2*l.out)
	}
	return count + int64(n.classes*(n.features+1))
}

// entry is a line of the state dict.
type entry struct {
	name, dtype string
	shape       []int64
}

// entries of the state dict, in the order of PyTorch's Module.state_dict.
func (n *network) entries() []entry {
	var es []entry
	add := func(name, dtype string, shape ...int) {
		e := entry{name, dtype, []int64{}}
		for _, size := range shape {
			e.shape = append(e.shape, int64(size))
		}
		es = append(es, e)
	}
	for _, l := range n.layers() {
		add(l.conv+".weight", "F32", l.out, l.in, l.kernel, l.kernel)
		add(l.norm+".weight", "F32", l.out)
		add(l.norm+".bias", "F32", l.out)
		if n.batchNorm() {
			add(l.norm+".running_mean", "F32", l.out)
			add(l.norm+".running_var", "F32", l.out)
			add(l.norm+".num_batches_tracked", "I64")
		}
	}
	add("fc.weight", "F32", n.classes, n.features)
	add("fc.bias", "F32", n.classes)
	return es
}

// checkState fails, naming the key, if state has not exactly the network's tensors.
func (n *network) checkState(state checkpoint.StateDict) error {
	if g := n.groups(); !n.batchNorm() {
		for _, l := range n.layers() {
			if l.out%g != 0 {
				return fmt.Errorf("spec.model.normalizationGroups is %d, it must divide the %d channels of %s", g, l.out, l.conv)
			}
		}
	}
	unexpected := maps.Clone(state)
	for _, e := range n.entries() {
		t, ok := state[e.name]
		if !ok {
			return fmt.Errorf("state dict: missing key %s", e.name)
		}
		if t.DType != e.dtype || !slices.Equal(t.Shape, e.shape) {
			return fmt.Errorf("state dict: %s is %s%v, the network needs %s%v", e.name, t.DType, t.Shape, e.dtype, e.shape)
		}
		if want := elements(e.shape) * sizeOf[e.dtype]; int64(len(t.Data)) != want {
			return fmt.Errorf("state dict: %s has %d bytes, the network needs %d", e.name, len(t.Data), want)
		}
		delete(unexpected, e.name)
	}
	if len(unexpected) > 0 {
		return fmt.Errorf("state dict: unexpected key %s", slices.Min(slices.Collect(maps.Keys(unexpected))))
	}
	return nil
}

// sizeOf an element of a dtype in bytes.
var sizeOf = map[string]int64{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

// elements of a tensor.
func elements(shape []int64) int64 {
	n := int64(1)
	for _, size := range shape {
		n *= size
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
