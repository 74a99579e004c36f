package export

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// ONNXOptions of the graph.
type ONNXOptions struct {
	// IncludeNormalization makes the graph take pixels in [0, 1], which it normalises itself.
	IncludeNormalization bool
	// Producer is the version of the program, for the file's producer_version.
	Producer string
	// Metadata is added to the file's metadata_props.
	Metadata map[string]string
	// ReduceRange keeps the integers of ONNXInt8's weights in [-63, 63].
	ReduceRange bool
}

// Names of the graph's input and output, which users of a runtime write down.
const (
	ONNXInput  = "input"
	ONNXOutput = "logits"
)

// normEps is eps of torch.nn's normalisations.
const normEps = 1e-5

// ONNX writes model.onnx: the network in evaluation, opset 13, IR version 7. Its input is float32 batch×C×H×W with any
// batch; its output are the logits, batch×classes. BatchNorm is folded into the convolutions. metadata_props hold
// classes, mean and std as JSON, and the range of the input in words.
func ONNX(w io.Writer, m *Model, opts ONNXOptions) error { return writeONNX(w, m, opts, nil) }

// writeONNX writes a float graph, or with a quantizer an int8 one.
func writeONNX(w io.Writer, m *Model, opts ONNXOptions, q *quantizer) error {
	n, err := m.check()
	if err != nil {
		return err
	}
	total := int64(0)
	for _, t := range m.State {
		total += int64(len(t.Data))
	}
	if err := checkSize(total); err != nil {
		return err
	}
	b := &onnxBuilder{model: m, network: n, quantizer: q, height: int64(m.Height), width: int64(m.Width)}
	b.build(opts.IncludeNormalization)
	if b.err != nil {
		return b.err
	}
	metadata, err := m.onnxMetadata(opts)
	if err != nil {
		return err
	}
	_, err = w.Write(b.encode(opts.Producer, metadata))
	return err
}

// onnxMetadata are keys and values, in order.
func (m *Model) onnxMetadata(opts ONNXOptions) ([][2]string, error) {
	input := "float32 NCHW, (pixel/255 - mean) / std"
	if opts.IncludeNormalization {
		input = "float32 NCHW, pixel/255"
	}
	all := [][2]string{{"input", input}}
	for _, field := range []struct {
		name  string
		value any
	}{{"classes", m.Classes}, {"mean", m.Mean}, {"std", m.Std}} {
		text, err := json.Marshal(field.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.name, err)
		}
		all = append(all, [2]string{field.name, string(text)})
	}
	for _, key := range slices.Sorted(maps.Keys(opts.Metadata)) {
		all = append(all, [2]string{key, opts.Metadata[key]})
	}
	return all, nil
}

// onnxBuilder appends the network to a graph, layer by layer. height and width are those of the last value.
type onnxBuilder struct {
	graph
	model         *Model
	network       *arch.Network
	quantizer     *quantizer // nil in a float graph
	height, width int64
	err           error // the first one
}

func (b *onnxBuilder) build(normalize bool) {
	n := b.network
	x := ONNXInput
	if normalize {
		shape := []int64{1, int64(n.Config.Channels), 1, 1}
		x = b.node("Sub", "normalize.sub", []string{x, b.floats("mean", shape, b.model.Mean)})
		x = b.node("Div", "normalize.div", []string{x, b.floats("std", shape, b.model.Std)})
	}
	x = b.quantize(arch.Input, arch.Input, x)
	x = b.hidden(arch.StemActivation, n.Stem, x)
	if n.Config.ImageNetStem {
		x = b.node("MaxPool", "maxpool", []string{x}, attribute{"kernel_shape", []int64{3, 3}},
			attribute{"pads", []int64{1, 1, 1, 1}}, attribute{"strides", []int64{2, 2}})
		x = b.quantize("maxpool", arch.StemActivation, x)
		b.height, b.width = (b.height+1)/2, (b.width+1)/2
	}
	for _, block := range n.Blocks {
		x = b.block(block, x)
	}
	x = b.quantize(arch.Pooled, arch.Pooled, b.node("GlobalAveragePool", arch.Pooled, []string{x}))
	x = b.node("Flatten", "flatten", []string{x}, attribute{"axis", int64(1)})
	x = b.quantize("flatten", arch.Pooled, x)
	b.node("Gemm", ONNXOutput, append([]string{x}, b.classifier(x)...), attribute{"transB", int64(1)})
}

func (b *onnxBuilder) block(block arch.Block, x string) string {
	height, width := b.height, b.width
	out, last := x, len(block.Body)-1
	for i, l := range block.Body[:last] {
		out = b.hidden(block.Activation(i), l, out)
	}
	out = b.term(block.Body[last], out)
	if block.Downsample != nil {
		b.height, b.width = height, width
		x = b.term(*block.Downsample, x)
	}
	sum := b.operand(block.Sum(), b.node("Add", block.Sum(), []string{out, x}))
	name := block.Activation(last)
	return b.quantize(name, name, b.activation(name, sum))
}

// term is a layer whose output is added to another.
func (b *onnxBuilder) term(l arch.Layer, x string) string {
	return b.quantize(l.Norm, l.Norm, b.layer(l, x))
}

// layer is a convolution and the normalisation behind it.
func (b *onnxBuilder) layer(l arch.Layer, x string) string {
	kernel, stride, pad := l.Kernel, l.Stride, l.Padding()
	x = b.node("Conv", l.Conv, append([]string{x}, b.weights(l, x)...), attribute{"kernel_shape", []int64{kernel, kernel}},
		attribute{"pads", []int64{pad, pad, pad, pad}}, attribute{"strides", []int64{stride, stride}})
	b.height, b.width = (b.height+stride-1)/stride, (b.width+stride-1)/stride
	groups := b.network.Config.Groups
	if groups == 0 {
		return x
	}
	return b.groupNorm(l, groups, b.quantize(l.Conv, l.Conv, x))
}

// weights are the inputs of a layer's convolution behind x: with BatchNorm folded, or as they are.
func (b *onnxBuilder) weights(l arch.Layer, x string) []string {
	var scale, shift []float64
	if b.network.Config.Groups == 0 {
		scale, shift = b.batchNorm(l)
	}
	weight := b.model.State[l.Conv+".weight"]
	if b.quantizer != nil {
		return b.int8Weights(l.Conv, weight, scale, shift, x)
	}
	if scale == nil {
		return []string{b.tensor(l.Conv+".weight", onnxFloat, weight.Shape, weight.Data)}
	}
	values := floatsOf(weight.Data)
	size := len(values) / len(scale)
	for i := range values {
		values[i] *= scale[i/size]
	}
	return []string{b.floats(l.Conv+".weight", weight.Shape, values), b.floats(l.Conv+".bias", []int64{l.Out}, shift)}
}

// classifier are the inputs fc.weight and fc.bias of the Gemm behind x.
func (b *onnxBuilder) classifier(x string) []string {
	weight, bias := b.model.State["fc.weight"], b.model.State["fc.bias"]
	if b.quantizer != nil {
		return b.int8Weights("fc", weight, nil, floatsOf(bias.Data), x)
	}
	return []string{
		b.tensor("fc.weight", onnxFloat, weight.Shape, weight.Data),
		b.tensor("fc.bias", onnxFloat, bias.Shape, bias.Data),
	}
}

// batchNorm is what a BatchNorm does to each channel in evaluation, scale·x + shift: γ·(x − μ)/√(σ²+ε) + β.
func (b *onnxBuilder) batchNorm(l arch.Layer) (scale, shift []float64) {
	get := func(name string) []float64 { return floatsOf(b.model.State[l.Norm+name].Data) }
	scale, shift = get(".weight"), get(".bias")
	mean, variance := get(".running_mean"), get(".running_var")
	for i := range scale {
		scale[i] /= math.Sqrt(variance[i] + normEps)
		shift[i] -= mean[i] * scale[i]
	}
	return scale, shift
}

// groupNorm is torch.nn.GroupNorm. Opset 13 has no such operator: the groups become the channels of an
// InstanceNormalization, and γ and β follow.
func (b *onnxBuilder) groupNorm(l arch.Layer, groups int64, x string) string {
	ones := make([]float64, groups)
	for i := range ones {
		ones[i] = 1
	}
	grouped := b.ints("shape.grouped", 0, groups, -1) // 0: as in the input
	full := b.ints(fmt.Sprintf("shape.%dx%dx%d", l.Out, b.height, b.width), 0, l.Out, b.height, b.width)
	scale, bias := b.floats("ones", []int64{groups}, ones), b.floats("zeros", []int64{groups}, make([]float64, groups))

	x = b.node("Reshape", l.Norm+".group", []string{x, grouped})
	x = b.node("InstanceNormalization", l.Norm+".normalize", []string{x, scale, bias}, attribute{"epsilon", float32(normEps)})
	x = b.node("Reshape", l.Norm+".ungroup", []string{x, full})
	perChannel := []int64{1, l.Out, 1, 1}
	state := b.model.State
	x = b.node("Mul", l.Norm+".scale", []string{x, b.tensor(l.Norm+".weight", onnxFloat, perChannel, state[l.Norm+".weight"].Data)})
	return b.node("Add", l.Norm, []string{x, b.tensor(l.Norm+".bias", onnxFloat, perChannel, state[l.Norm+".bias"].Data)})
}

// hidden is a layer and the activation behind it.
func (b *onnxBuilder) hidden(name string, l arch.Layer, x string) string {
	x = b.layer(l, x)
	if b.network.Config.Groups == 0 { // behind GroupNorm x is in float anyway
		x = b.operand(l.Norm, x)
	}
	return b.quantize(name, name, b.activation(name, x))
}

// operand of an activation: only ReLU fuses with the operator before it, without a rounding in between.
func (b *onnxBuilder) operand(value, x string) string {
	if b.network.Config.Activation == v1.ReLU {
		return x
	}
	return b.quantize(value, value, x)
}

// activation is that of torch.nn with its default arguments.
func (b *onnxBuilder) activation(name, x string) string {
	scalar := func(name string, v float64) string { return b.floats(name, nil, []float64{v}) }
	switch b.network.Config.Activation {
	case v1.LeakyReLU:
		return b.node("LeakyRelu", name, []string{x}, attribute{"alpha", float32(0.01)})
	case v1.SiLU: // x·sigmoid(x)
		return b.node("Mul", name, []string{x, b.node("Sigmoid", name+".sigmoid", []string{x})})
	case v1.GELU: // x·(1+erf(x/√2))/2
		erf := b.node("Erf", name+".erf", []string{b.node("Mul", name+".div", []string{x, scalar("gelu.1/sqrt2", math.Sqrt2/2)})})
		cdf := b.node("Mul", name+".cdf", []string{b.node("Add", name+".plus1", []string{erf, scalar("gelu.1", 1)}), scalar("gelu.1/2", 0.5)})
		return b.node("Mul", name, []string{x, cdf})
	case v1.Hardswish: // x·clip(x/6+1/2, 0, 1)
		hard := b.node("HardSigmoid", name+".hardsigmoid", []string{x}, attribute{"alpha", float32(1. / 6)}, attribute{"beta", float32(0.5)})
		return b.node("Mul", name, []string{x, hard})
	default:
		return b.node("Relu", name, []string{x})
	}
}

// encode returns the ModelProto.
func (b *onnxBuilder) encode(producer string, metadata [][2]string) []byte {
	const irVersion, opset = 7, 13
	c := b.network.Config
	var m message
	m.int(1, irVersion)
	m.text(2, "resnet-operator")
	m.text(3, producer)
	m.message(7, func(g *message) {
		*g = append(*g, b.nodes...)
		g.text(2, string(b.model.Spec.Architecture))
		*g = append(*g, b.initializers...)
		g.message(11, valueInfo(ONNXInput, "batch", c.Channels, b.model.Height, b.model.Width))
		g.message(12, valueInfo(ONNXOutput, "batch", c.Classes))
	})
	m.message(8, func(o *message) { o.int(2, opset) })
	for _, entry := range metadata {
		m.message(14, func(e *message) {
			e.text(1, entry[0])
			e.text(2, entry[1])
		})
	}
	return m
}
