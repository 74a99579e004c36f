package export

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// randomModel has weights that keep activations at about the same size through the network.
func randomModel(t testing.TB, spec v1.ModelSpec, channels, size int) *Model {
	t.Helper()
	const classes = 5
	rng := rand.New(rand.NewPCG(1, 2))
	m := &Model{Spec: spec, State: checkpoint.StateDict{}, Height: size, Width: size + 3}
	config, err := arch.ConfigOf(spec, m.Height, m.Width, channels, classes)
	must(t, err)
	for i := range channels {
		m.Mean, m.Std = append(m.Mean, 0.4+0.1*float64(i)), append(m.Std, 0.2+0.05*float64(i))
	}
	for i := range classes {
		m.Classes = append(m.Classes, fmt.Sprintf("class %d", i))
	}
	for _, want := range arch.New(config).Tensors() {
		m.State[want.Name] = randomTensor(rng, want)
	}
	return m
}

func randomTensor(rng *rand.Rand, want arch.Tensor) checkpoint.Tensor {
	t := checkpoint.Tensor{DType: want.DType, Shape: want.Shape}
	if want.DType == "I64" {
		t.Data = binary.LittleEndian.AppendUint64(nil, 1<<40+uint64(len(want.Name)))
		return t
	}
	fanIn := 1.
	for _, size := range want.Shape[1:] {
		fanIn *= float64(size)
	}
	values := make([]float32, want.Elements())
	for i := range values {
		if len(want.Shape) > 1 {
			values[i] = float32(rng.NormFloat64() * math.Sqrt(2/fanIn))
		} else { // also variances: positive
			values[i] = float32(0.5 + rng.Float64())
		}
	}
	t.Data = encodeFloats(values)
	return t
}

func encodeFloats(values []float32) (data []byte) {
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

// model is a narrow network; its widths divide by 4, so that GroupNorm has groups of more than one channel.
func model(norm v1.Normalization, act v1.Activation, stem v1.Stem) v1.ModelSpec {
	return v1.ModelSpec{Architecture: v1.ResNet18, Stem: stem, WidthMultiplier: 0.125, Normalization: norm, Activation: act}
}
