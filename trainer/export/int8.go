package export

import (
	"fmt"
	"io"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// ONNXInt8 writes model.int8.onnx: the graph of ONNX with QuantizeLinear and DequantizeLinear around what a runtime
// shall compute in int8 (QDQ). Activations are uint8, with the ranges of m.Calibration; weights are int8 for each output
// channel, biases int32. Input and output are those of ONNX. What stays in float, Quantization of the card says.
//
// Errors: exit code 65 if a weight is not finite, 64 without a calibration.
func ONNXInt8(w io.Writer, m *Model, opts ONNXOptions) error {
	n, err := m.check()
	if err != nil {
		return err
	}
	for _, t := range n.Tensors() {
		if t.DType == "F32" && !allFinite(floatsOf(m.State[t.Name].Data)) {
			return exit.Errorf(contract.ExitData, "%s has a value that is not finite, which no integer stands for: export other "+
				"weights, such as those of an earlier checkpoint", t.Name)
		}
	}
	if m.Calibration == nil || len(m.Calibration.Ranges) == 0 {
		return exit.Errorf(contract.ExitConfig,
			"%s needs a calibration, which has seen no images: set spec.export.calibrationBatches to 1 or more", v1.ExportONNXInt8)
	}
	return writeONNX(w, m, opts, newQuantizer(m.Calibration, opts.ReduceRange))
}

// quantizer keeps what is quantised how.
type quantizer struct {
	calibration *quant.Calibration
	limit       float32
	inputs      map[string]quant.Affine // of what operators read, by its name in the graph
}

func newQuantizer(c *quant.Calibration, reduceRange bool) *quantizer {
	return &quantizer{c, float32(quant.Limit(reduceRange)), map[string]quant.Affine{}}
}

// quantize appends the Q and DQ of x, the value of a name, by the range of value, and returns what others read in place
// of x. In a float graph that is x.
func (b *onnxBuilder) quantize(name, value, x string) string {
	q := b.quantizer
	if q == nil {
		return x
	}
	r, known := q.calibration.Ranges[value]
	if b.err == nil && (!known || !r.Finite()) {
		b.err = exit.Errorf(contract.ExitData, "the calibration found no finite range of %s: it is %v to %v",
			value, r.Min, r.Max)
	}
	a := r.Affine()
	parameters := []string{
		b.floats(value+".q_scale", nil, []float64{float64(a.Scale)}),
		b.tensor(value+".q_zero_point", onnxUint8, nil, []byte{a.ZeroPoint}),
	}
	x = b.node("QuantizeLinear", name+".quantized", append([]string{x}, parameters...))
	x = b.node("DequantizeLinear", name+".dequantized", append([]string{x}, parameters...))
	q.inputs[x] = a
	return x
}

// int8Weights are the inputs of a convolution or Gemm behind x: its weights times scale, and where it has one its bias.
func (b *onnxBuilder) int8Weights(name string, weight checkpoint.Tensor, scale, bias []float64, x string) []string {
	channels := weight.Shape[0]
	w := quant.NewWeights(floatsOf(weight.Data), int(channels), b.quantizer.limit)
	if b.err == nil && !(allFinite(scale) && allFinite(bias)) {
		b.err = exit.Errorf(contract.ExitData, "the normalisation behind %s has a running variance below 0, or values too "+
			"large to be folded into the convolution: export other weights", name)
	}
	if b.err != nil {
		return nil
	}
	w.Multiply(scale)
	var int32s []int32
	var biasScales []float32
	if bias != nil { // first: it may change the scales
		int32s, biasScales = w.Bias(bias, b.quantizer.inputs[x])
	}
	inputs := []string{b.dequantize(name+".weight", b.int8s(name+".weight", weight.Shape, w.Ints), w.Scales,
		b.int8s(name+".weight.q_zero_point", []int64{channels}, make([]int8, channels)))}
	if bias == nil {
		return inputs
	}
	return append(inputs, b.dequantize(name+".bias", b.int32s(name+".bias", int32s), biasScales))
}

// dequantize appends the DQ of constants, by a scale for each channel.
func (b *onnxBuilder) dequantize(name, x string, scales []float32, zeroPoint ...string) string {
	values := make([]float64, len(scales))
	for i, s := range scales {
		values[i] = float64(s)
	}
	inputs := append([]string{x, b.floats(name+".q_scale", []int64{int64(len(scales))}, values)}, zeroPoint...)
	return b.node("DequantizeLinear", name+".dequantized", inputs, attribute{"axis", int64(0)})
}

// Quantization says of model.int8.onnx how it was made and what of it is not int8.
type Quantization struct {
	// Method is PTQ, post-training quantisation, or QAT, where the ranges of activations come from the training.
	Method string `json:"method"`
	// Weights are int8, each output channel by its own scale, in [-WeightLimit, WeightLimit]; activations are uint8.
	WeightLimit int `json:"weightLimit"`
	// CalibrationImages is the number of training images that the ranges of activations come from; not of QAT.
	CalibrationImages int `json:"calibrationImages,omitempty"`
	// Float are the layers that compute in float32, each with the reason; there are no others.
	Float []string `json:"float,omitempty"`
}

func quantizationOf(m *Model, c arch.Config, spec v1.ExportSpec) *Quantization {
	q := &Quantization{Method: "PTQ", WeightLimit: int(quant.Limit(spec.ReduceRange)),
		CalibrationImages: m.Calibration.Images}
	if m.Calibration.Images == 0 {
		q.Method = "QAT"
	}
	if spec.IncludeNormalization {
		q.Float = append(q.Float, "the normalisation of the input: it comes before the values are quantised")
	}
	if c.Groups != 0 {
		q.Float = append(q.Float, fmt.Sprintf("%s and the activation right behind it: mean and variance of each image cannot "+
			"be folded into a convolution", m.Spec.Normalization))
	}
	switch c.Activation {
	case v1.SiLU, v1.GELU, v1.Hardswish:
		q.Float = append(q.Float, fmt.Sprintf("%s: there is no int8 form of it that ONNX Runtime fuses", c.Activation))
	}
	return q
}
