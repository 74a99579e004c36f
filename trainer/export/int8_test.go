package export

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/internal/onnxruntime"
	"github.com/resnet-operator/resnet-operator/trainer/internal/readers"
	"github.com/resnet-operator/resnet-operator/trainer/quant"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// kernels of ONNX Runtime's optimised graph, with how many there are, apart from those that only lay values out anew.
type kernels map[string]int

// fused is a ResNet-18 with BatchNorm and ReLU, and more kernels.
func fused(more kernels) kernels {
	k := kernels{"QuantizeLinear": 1, "QLinearConv": 20, "QLinearAdd": 8, "QLinearGlobalAveragePool": 1, "QGemm": 1}
	for op, n := range more {
		k[op] += n
	}
	return k
}

// int8Case is a network, what ONNX Runtime computes it with, and how much of it the card says is in float.
type int8Case struct {
	formatCase
	images  int
	kernels kernels
	float   int
}

// The kernels between quantised values: 17 activations; 20 normalisations, of which 9 have an activation right behind.
var (
	groupNorm = kernels{"DequantizeLinear": 20, "QuantizeLinear": 20, "InstanceNormalization": 20, "Mul": 20, "Add": 20}
	hardswish = kernels{"DequantizeLinear": 34, "QuantizeLinear": 17, "HardSigmoid": 17, "Mul": 17}
)

func int8Cases() map[string]int8Case {
	all := map[string]int8Case{}
	for name, c := range formatCases {
		all[name] = int8Case{c, 2, fused(nil), 0}
	}
	set := func(name string, float int, more kernels) {
		c := all[name]
		c.kernels, c.float = fused(more), float
		all[name] = c
	}
	set("ImageNet stem", 0, kernels{"NhwcMaxPool": 1})
	set("ResNet34", 0, kernels{"QLinearConv": 16, "QLinearAdd": 8})
	set("ResNet50", 0, kernels{"QLinearConv": 33, "QLinearAdd": 8, "NhwcMaxPool": 1})
	set("ResNet101", 0, kernels{"QLinearConv": 84, "QLinearAdd": 25})
	set("ResNet152", 1, kernels{"QLinearConv": 135, "QLinearAdd": 42, "DequantizeLinear": 155, "QuantizeLinear": 155,
		"InstanceNormalization": 155, "Mul": 155, "Add": 155})
	set("LeakyReLU", 0, kernels{"QLinearLeakyRelu": 17})
	set("Hardswish", 1, hardswish)
	set("TinyBatchNorm", 1, hardswish)
	set("SiLU", 1, kernels{"DequantizeLinear": 34, "QuantizeLinear": 17, "Sigmoid": 17, "Mul": 17})
	set("GELU", 1, kernels{"DequantizeLinear": 34, "QuantizeLinear": 17, "Erf": 17, "Mul": 51, "Add": 17})
	set("GroupNorm", 1, groupNorm)
	set("least size", 1, groupNorm)
	set("odd size", 1, kernels{"DequantizeLinear": 20, "QuantizeLinear": 20, "InstanceNormalization": 20, "Mul": 20,
		"Add": 20, "MaxPool": 1})
	set("LayerNorm", 2, kernels{"DequantizeLinear": 36, "QuantizeLinear": 28, "InstanceNormalization": 20, "Mul": 28,
		"Add": 20, "QuickGelu": 9, "Sigmoid": 8})
	set("two groups", 2, kernels{"DequantizeLinear": 36, "QuantizeLinear": 28, "InstanceNormalization": 20, "Mul": 71,
		"Add": 37, "Erf": 17})
	c := all["full width"]
	c.size = 8
	all["full width"] = c
	all["many images"] = int8Case{formatCase{model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 3, 8}, 300, fused(nil), 0}
	return all
}

// TestInt8InONNXRuntime: ONNX Runtime computes nothing in float but what the card says. Each value is at most one level
// from what the specification of ONNX says, and from what integers alone make of it, given the values before it; from
// image to logits, the class is the same.
func TestInt8InONNXRuntime(t *testing.T) {
	onnxruntime.Folder(t)
	readers.Folder(t)
	var runs, files []string
	const few = 2
	models, inputs, firsts, dirs := map[string]*Model{}, map[string]array{}, map[string]array{}, map[string]string{}
	for name, c := range int8Cases() {
		m := randomModel(t, c.spec, c.channels, c.size)
		signs(t, m)
		x := randomInput(m, c.images)
		first := array{append([]int{few}, x.shape[1:]...), x.data[:few*x.size()/c.images]}
		calibrate(t, m, first)
		models[name], inputs[name], dirs[name] = m, x, t.TempDir()
		at := func(file string) string { return filepath.Join(dirs[name], file) }
		must(t, os.MkdirAll(at("values"), 0o700))
		written := int8Of(t, m, ONNXOptions{})
		must(t, os.WriteFile(at(ONNXInt8File), written, 0o600))
		must(t, os.WriteFile(at("values.onnx"), withQuantizedOutputs(t, written), 0o600))
		must(t, os.WriteFile(at("input.f32"), encodeFloats(float32s(x.data)), 0o600))
		must(t, os.WriteFile(at("first.f32"), encodeFloats(float32s(first.data)), 0o600))
		runs = append(runs, at(ONNXInt8File), at("input.f32"), x.dims(), dirs[name])
		runs = append(runs, at("values.onnx"), at("first.f32"), first.dims(), at("values"))
		firsts[name], files = first, append(files, at(ONNXInt8File))
	}
	onnxruntime.Run(t, "quantized.mjs", runs...)
	readers.Run(t, "testdata/onnx_readers.py", append([]string{"check"}, files...)...)
	for name, c := range int8Cases() {
		t.Run(name, func(t *testing.T) {
			m, dir := models[name], dirs[name]
			optimized, err := os.ReadFile(filepath.Join(dir, "optimized.onnx"))
			must(t, err)
			got := kernels{}
			for _, n := range parseONNX(t, optimized).nodes {
				if !slices.Contains([]string{"Transpose", "Reshape", "Flatten"}, n.op) {
					got[n.op]++
				}
			}
			if diff := cmp.Diff(c.kernels, got); diff != "" {
				t.Errorf("operators of the optimised graph (-want +got):\n%s", diff)
			}
			n, err := m.check()
			must(t, err)
			if q := quantizationOf(m, n.Config, v1.ExportSpec{}); len(q.Float) != c.float {
				t.Errorf("in float, says the card: %q", q.Float)
			}
			model := int8Of(t, m, ONNXOptions{})
			layerByLayer(t, model, firsts[name], filepath.Join(dir, "values"))
			sameClasses(t, model, inputs[name], dir)
			if c.float == 0 {
				f := &integers{onnxFile: parseONNX(t, model), t: t}
				compareIntegers(t, f, firsts[name], filepath.Join(dir, "values"))
				sameClassesInIntegers(t, f, inputs[name], dir)
			}
		})
	}
}

// layerByLayer gives each operator what ONNX Runtime gave it.
func layerByLayer(t *testing.T, model []byte, x array, dir string) {
	t.Helper()
	values, differ := 0, 0
	logits := parseONNX(t, model).evaluate(t, x, func(n onnxNode, want array) array {
		if n.op != "QuantizeLinear" {
			return want
		}
		theirs, err := os.ReadFile(filepath.Join(dir, n.outputs[0]))
		must(t, err)
		got := each(want, func(i int, _ float64) float64 { return float64(theirs[i]) })
		for i := range got.data {
			values++
			if got.data[i] != want.data[i] {
				differ++
			}
			if math.Abs(got.data[i]-want.data[i]) > 1 {
				t.Fatalf("%s: element %d is %v, want %v", n.name, i, got.data[i], want.data[i])
			}
		}
		return got
	})
	if differ > 1+values/1000 {
		t.Errorf("%d of %d values differ by one level", differ, values)
	}
	theirs := readFloats(t, dir, ONNXOutput)
	for i, want := range logits.data {
		if math.Abs(theirs[i]-want) > 1e-4*(1+math.Abs(want)) {
			t.Errorf("logit %d is %v, want %v", i, theirs[i], want)
		}
	}
}

// sameClasses compares the largest logits.
func sameClasses(t *testing.T, model []byte, x array, dir string) {
	t.Helper()
	want := parseONNX(t, model).evaluate(t, x, func(_ onnxNode, x array) array { return x })
	theirs := readFloats(t, dir, ONNXOutput)
	images, classes := want.shape[0], want.shape[1]
	same := 0
	for i := range images {
		if argmax(want.data[i*classes:][:classes]) == argmax(theirs[i*classes:][:classes]) {
			same++
		}
	}
	if float64(same) < 0.995*float64(images) {
		t.Errorf("the class of %d of %d images is the same", same, images)
	}
}

func argmax(values []float64) int { return slices.Index(values, slices.Max(values)) }

// The integers of a folded BatchNorm stand for what the float graph has, γ < 0 and γ = 0 included.
func TestInt8Weights(t *testing.T) {
	for _, reduce := range []bool{false, true} {
		m := randomModel(t, model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 3, 8)
		signs(t, m)
		calibrate(t, m, randomInput(m, 1))
		var b bytes.Buffer
		must(t, ONNX(&b, m, ONNXOptions{}))
		float := parseONNX(t, b.Bytes()).initializers
		file := parseONNX(t, int8Of(t, m, ONNXOptions{ReduceRange: reduce})).initializers
		checked, all, limit := 0, 0, float64(quant.Limit(reduce))
		for name, want := range float {
			all += len(want.data)
			ints, scales := file[name], file[name+".q_scale"]
			size := len(ints.data) / max(len(scales.data), 1)
			for i, q := range ints.data {
				scale := scales.data[i/size]
				if math.Abs(q*scale-want.data[i]) > 0.5001*scale || strings.HasSuffix(name, ".weight") && math.Abs(q) > limit {
					t.Fatalf("%s[%d] is %v × %v, want %v", name, i, q, scale, want.data[i])
				}
				checked++
			}
			if strings.HasSuffix(name, ".weight") && slices.Max(ints.data) != limit && slices.Min(ints.data) != -limit {
				t.Errorf("%s uses %v to %v of ±%v", name, slices.Min(ints.data), slices.Max(ints.data), limit)
			}
		}
		if checked != all {
			t.Errorf("%d of %d weights and biases are in the int8 file", checked, all)
		}
	}
}

// A quarter of the float file, and what quantisation adds.
func TestInt8Size(t *testing.T) {
	spec := model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR)
	narrow, m := randomModel(t, spec, 3, 8), randomModel(t, fullWidth(spec), 3, 8)
	calibrate(t, narrow, randomInput(narrow, 1))
	m.Calibration = narrow.Calibration // any will do
	if size := len(int8Of(t, m, ONNXOptions{})); size > 11_300_000 {
		t.Errorf("width 1 takes %d bytes", size)
	}
}

func TestInt8Errors(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(m *Model)
		code   contract.ExitCode
		want   string
	}{
		"NaN": {func(m *Model) { setFirst(m, "layer1.0.conv1.weight", float32(math.NaN())) }, contract.ExitData,
			"layer1.0.conv1.weight has a value that is not finite"},
		"infinite": {func(m *Model) { setFirst(m, "fc.bias", float32(math.Inf(-1))) }, contract.ExitData,
			"fc.bias has a value that is not finite"},
		"variance": {func(m *Model) { setFirst(m, "bn1.running_var", -1) }, contract.ExitData,
			"the normalisation behind conv1 has a running variance below 0"},
		"no calibration": {func(m *Model) { m.Calibration = nil }, contract.ExitConfig,
			"set spec.export.calibrationBatches to 1 or more"},
		"no images": {func(m *Model) { m.Calibration = &quant.Calibration{} }, contract.ExitConfig,
			"set spec.export.calibrationBatches to 1 or more"},
		"activation": {func(m *Model) { m.Calibration.Add("layer1.0.relu1", quant.Range{Max: float32(math.Inf(1))}) },
			contract.ExitData, "the calibration found no finite range of layer1.0.relu1"},
		"shape": {func(m *Model) { delete(m.State, "fc.bias") }, contract.ExitUnexpected, "missing key fc.bias"},
	} {
		t.Run(name, func(t *testing.T) {
			m := randomModel(t, model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 3, 8)
			calibrate(t, m, randomInput(m, 1))
			test.damage(m)
			var b bytes.Buffer
			err := ONNXInt8(&b, m, ONNXOptions{})
			oneLine := err != nil && !strings.Contains(err.Error(), "\n")
			if b.Len() != 0 || exit.Code(err) != test.code || !oneLine || !strings.Contains(err.Error(), test.want) {
				t.Errorf("exit code %d, %v; want %d, %s", exit.Code(err), err, test.code, test.want)
			}
		})
	}
}

func setFirst(m *Model, name string, v float32) {
	tensor := m.State[name]
	tensor.Data = append(encodeFloats([]float32{v}), tensor.Data[4:]...)
	m.State[name] = tensor
}

// signs makes γ of some channels negative, and of some 0.
func signs(t *testing.T, m *Model) {
	t.Helper()
	for name, tensor := range m.State {
		if len(tensor.Shape) == 1 && strings.HasSuffix(name, ".weight") {
			values := float32s(floatsOf(tensor.Data))
			for i := range values {
				values[i] *= float32(i%4-1) / 2 // −, 0, +, +
			}
			tensor.Data = encodeFloats(values)
			m.State[name] = tensor
		}
	}
}

func float32s(values []float64) (out []float32) {
	for _, v := range values {
		out = append(out, float32(v))
	}
	return out
}

func randomInput(m *Model, images int) array {
	rng := rand.New(rand.NewPCG(3, 4))
	x := array{shape: []int{images, len(m.Mean), m.Height, m.Width}}
	for i := range x.size() {
		c := i / (m.Height * m.Width) % len(m.Mean)
		x.data = append(x.data, float64((float32(rng.IntN(256))/255-float32(m.Mean[c]))/float32(m.Std[c])))
	}
	return x
}

// calibrate takes the ranges from the float graph.
func calibrate(t testing.TB, m *Model, x array) {
	t.Helper()
	var b bytes.Buffer
	must(t, ONNX(&b, m, ONNXOptions{}))
	c := &quant.Calibration{Images: x.shape[0]}
	add := func(name string, x array) {
		c.Add(name, quant.Range{Min: float32(slices.Min(x.data)), Max: float32(slices.Max(x.data))})
	}
	add(arch.Input, x)
	parseONNX(t, b.Bytes()).evaluate(t, x, func(n onnxNode, x array) array {
		add(n.name, x)
		if n.op == "Conv" && len(m.State["bn1.running_var"].Data) > 0 { // which is folded into it
			add(strings.NewReplacer("conv", "bn", "downsample.0", "downsample.1").Replace(n.name), x)
		}
		return x
	})
	m.Calibration = c
}

func int8Of(t testing.TB, m *Model, opts ONNXOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, ONNXInt8(&b, m, opts))
	return b.Bytes()
}

// withQuantizedOutputs makes outputs of all quantised values: a second graph in a file is merged into the first.
func withQuantizedOutputs(t *testing.T, model []byte) []byte {
	var graph message
	for _, n := range parseONNX(t, model).nodes {
		if n.op == "QuantizeLinear" {
			graph.message(12, func(m *message) {
				m.text(1, n.outputs[0])
				m.message(2, func(typ *message) { typ.message(1, func(tensor *message) { tensor.int(1, onnxUint8) }) })
			})
		}
	}
	return protowire.AppendBytes(protowire.AppendTag(slices.Clone(model), 7, protowire.BytesType), graph)
}
