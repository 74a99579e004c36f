package resnet

import (
	"fmt"
	"math"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// quantization is what fake quantisation needs beside the weights.
type quantization struct {
	libtorch.Observers
	names []string // of the ranges, in their order
	rows  map[string]int
	limit float64 // of the integers of weights
}

// Quantize lets the network compute in the mode Quantized: with weights as integers in [-limit, limit], and ranges that
// are averaged with a constant in the mode Observing. It must be one of BatchNorm, and of ReLU or LeakyReLU.
func (n *ResNet) Quantize(limit, averaging float64) error {
	q := &quantization{names: n.arch.Quantized(), rows: map[string]int{}, limit: limit}
	for i, name := range q.names {
		q.rows[name] = i
	}
	q.Averaging = averaging
	var err error
	if q.Ranges, err = libtorch.NewBuffer([]int64{int64(len(q.names)), 2}, 0); err != nil {
		return err
	}
	n.quant = q
	if err := libtorch.Move(q.Ranges, n.device); err != nil {
		return err
	}
	return n.SetRanges(nil)
}

// Observers are the ranges as one tensor of two columns, the least and the greatest values; none without Quantize.
func (n *ResNet) Observers() []libtorch.Tensor {
	if n.quant == nil {
		return nil
	}
	return []libtorch.Tensor{n.quant.Ranges}
}

// Ranges are those of the activations, by their names in package arch; nil before the first ones, and without Quantize.
func (n *ResNet) Ranges() (map[string]quant.Range, error) {
	if n.quant == nil {
		return nil, nil
	}
	values, err := libtorch.Values[float32](n.quant.Ranges)
	if err != nil {
		return nil, err
	}
	ranges := map[string]quant.Range{}
	for i, name := range n.quant.names {
		r := quant.Range{Min: values[2*i], Max: values[2*i+1]}
		if r.Min > r.Max {
			return nil, nil
		}
		ranges[name] = r
	}
	return ranges, nil
}

// SetRanges is the inverse of Ranges.
func (n *ResNet) SetRanges(ranges map[string]quant.Range) error {
	values := make([]float32, 0, 2*len(n.quant.names))
	for _, name := range n.quant.names {
		r, ok := ranges[name]
		if !ok && ranges != nil {
			return fmt.Errorf("there is no range of %s", name)
		}
		if !ok {
			r = quant.Range{Min: float32(math.Inf(1)), Max: float32(math.Inf(-1))}
		}
		values = append(values, r.Min, r.Max)
	}
	return libtorch.Upload(n.quant.Ranges, values)
}

// quantized computes with integers in place of activations and weights: an activation stands for its integer times the
// scale of its range.
type quantized struct {
	*ResNet
	s    *libtorch.Scope
	mode Mode
}

// observers that move only in the mode Observing.
func (o *quantized) observers() libtorch.Observers {
	if o.mode&Observing != 0 {
		return o.quant.Observers
	}
	return libtorch.Observers{Ranges: o.quant.Ranges}
}

func (o *quantized) input(images libtorch.Tensor) value {
	return value{Tensor: o.s.FakeQuantize(images, o.observers(), o.quant.rows[arch.Input]), name: arch.Input}
}

func (o *quantized) convolve(l *layer, x value) value {
	integers, scales := o.s.QuantizeWeights(l.conv.Weight, o.quant.limit)
	defer o.s.Free(integers)
	return value{Tensor: o.see(l.Conv, o.s.Conv2d(x.Tensor, integers, l.Stride, l.Padding())), name: x.name, scales: scales}
}

func (o *quantized) normalise(l *layer, x, add value, f libtorch.Activation, name string) value {
	defer o.s.Free(x.scales)
	rows, fused, before := o.quant.rows, f, name
	if f == libtorch.LeakyReLU { // which reads a quantised value
		fused, before = libtorch.Identity, l.Norm
		if add.T != nil {
			before = o.sumBehind(l)
		}
	}
	n := libtorch.QuantBatchNorm{BatchNorm: &l.norm.BatchNorm, Observers: o.observers(), WeightScales: x.scales,
		Input: rows[x.name], Output: rows[before], Term: rows[l.Norm], Addend: rows[add.name]}
	y := value{Tensor: o.see(l.Norm, o.s.QuantBatchNorm(n, x.Tensor, add.Tensor, fused, l.norm.moves(o.mode))), name: name}
	if f == fused {
		return y
	}
	return instead(o.s, y, value{Tensor: o.s.QuantLeakyReLU(y.Tensor, o.observers(), rows[before], rows[name]), name: name})
}

func (o *quantized) classify(x value) libtorch.Tensor {
	rows := o.quant.rows
	return o.s.QuantLinear(x.Tensor, o.observers(), rows[x.name], rows[arch.Pooled], o.fc.Weight, o.fc.Bias, o.quant.limit)
}
