package export

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/internal/onnxruntime"
)

// integers computes an int8 model as a processor does: products of uint8 and int8 are added in int32, and a sum becomes a
// uint8 again by one factor. Of a float graph there is no more than QuantizeLinear at its input and the logits at its end.
type integers struct {
	*onnxFile
	// saturate adds two products in int16 first, as AVX2 without VNNI does (vpmaddubsw).
	saturate bool
	// see, if set, is given every uint8 tensor behind a QuantizeLinear, and may put another in its place.
	see func(n onnxNode, x quantized) quantized
	t   testing.TB
}

// quantized is a uint8 tensor, channels last: N, H, W, C.
type quantized struct {
	shape     []int
	data      []uint8
	scale     float32
	zeroPoint int32
}

// reals are numbers, channels last, that the next QuantizeLinear rounds.
type reals struct {
	shape []int
	at    func(i int) float32
}

func (x quantized) real(i int) float32 { return float32(int32(x.data[i])-x.zeroPoint) * x.scale }

// logits of images N×C×H×W.
func (f *integers) logits(images array) [][]float32 {
	f.t.Helper()
	values := map[string]any{ONNXInput: images}
	for _, n := range f.nodes {
		values[n.outputs[0]] = f.apply(n, values)
	}
	return values[ONNXOutput].([][]float32)
}

// apply an operator. DequantizeLinear, Flatten and Relu leave what they are given: scales and zero points travel with the
// integers, and QuantizeLinear clamps below zero.
func (f *integers) apply(n onnxNode, values map[string]any) any {
	if _, constant := f.initializers[n.inputs[0]]; constant {
		return nil // a weight or a bias, which its reader takes as it is
	}
	x := values[n.inputs[0]]
	switch n.op {
	case "DequantizeLinear", "Flatten", "Relu":
		return x
	case "MaxPool":
		return maxPoolOf(x.(quantized))
	case "Conv":
		return f.products(x.(quantized), n)
	case "Gemm":
		y := f.products(x.(quantized), n)
		logits := make([][]float32, y.shape[0])
		for i := range logits {
			for c := range y.shape[3] {
				logits[i] = append(logits[i], y.at(i*y.shape[3]+c))
			}
		}
		return logits
	case "Add":
		a, b := x.(quantized), values[n.inputs[1]].(quantized)
		return reals{a.shape, func(i int) float32 { return a.real(i) + b.real(i) }}
	case "LeakyRelu":
		a := x.(quantized)
		return reals{a.shape, func(i int) float32 { return max(a.real(i), float32(n.floats["alpha"])*a.real(i)) }}
	case "GlobalAveragePool":
		return meanOf(x.(quantized))
	case "QuantizeLinear":
		y := f.quantize(x, float32(f.initializers[n.inputs[1]].data[0]), int32(f.initializers[n.inputs[2]].data[0]))
		if f.see != nil {
			y = f.see(n, y)
		}
		return y
	}
	f.t.Fatalf("%s: no operator %s in integers", n.name, n.op)
	return nil
}

func (f *integers) quantize(x any, scale float32, zeroPoint int32) quantized {
	var from reals
	switch x := x.(type) {
	case quantized:
		if x.scale != scale || x.zeroPoint != zeroPoint {
			f.t.Fatal("a quantised value is quantised once more by another range")
		}
		return x
	case array:
		from = channelsLast(x)
	case reals:
		from = x
	}
	y := quantized{from.shape, make([]uint8, array{shape: from.shape}.size()), scale, zeroPoint}
	for i := range y.data {
		q := int32(math.RoundToEven(float64(from.at(i)/scale))) + zeroPoint
		y.data[i] = uint8(min(max(q, 0), math.MaxUint8))
	}
	return y
}

// channelsLast are images N×C×H×W.
func channelsLast(x array) reals {
	c, plane := x.shape[1], x.shape[2]*x.shape[3]
	return reals{[]int{x.shape[0], x.shape[2], x.shape[3], c}, func(i int) float32 {
		image, pixel, channel := i/(plane*c), i/c%plane, i%c
		return float32(x.data[(image*c+channel)*plane+pixel])
	}}
}

// meanOf is the mean over height and width.
func meanOf(x quantized) reals {
	plane, c := x.shape[1]*x.shape[2], x.shape[3]
	return reals{[]int{x.shape[0], 1, 1, c}, func(i int) float32 {
		sum := -int32(plane) * x.zeroPoint
		for pixel := range plane {
			sum += int32(x.data[(i/c*plane+pixel)*c+i%c])
		}
		return float32(sum) * x.scale / float32(plane)
	}}
}

// products are the sums of a convolution or, of 1×1, of a Gemm.
func (f *integers) products(x quantized, n onnxNode) reals {
	constant := func(i int) array { return f.initializers[strings.TrimSuffix(n.inputs[i], ".dequantized")] }
	w, bias := constant(1), constant(2)
	kernel, stride, pad := 1, 1, 0
	if n.op == "Conv" {
		kernel, stride, pad = w.shape[2], int(n.ints["strides"][0]), int(n.ints["pads"][0])
	}
	images, height, width, in, out := x.shape[0], x.shape[1], x.shape[2], x.shape[3], w.shape[0]
	weights, totals := make([][]int32, out), make([]int32, out) // [ky][kx][c], as the columns
	for o := range out {
		for k := range kernel * kernel {
			for c := range in {
				v := int32(w.data[(o*in+c)*kernel*kernel+k])
				weights[o], totals[o] = append(weights[o], v), totals[o]+v
			}
		}
	}
	scales := f.initializers[strings.TrimSuffix(n.inputs[1], ".dequantized")+".q_scale"].data
	y := reals{shape: []int{images, (height+2*pad-kernel)/stride + 1, (width+2*pad-kernel)/stride + 1, out}}
	var sums []int32
	column := make([]int32, kernel*kernel*in)
	for image := range images {
		for i := range y.shape[1] {
			for j := range y.shape[2] {
				for k := range column {
					r, s := i*stride+k/in/kernel-pad, j*stride+k/in%kernel-pad
					column[k] = x.zeroPoint
					if r >= 0 && r < height && s >= 0 && s < width {
						column[k] = int32(x.data[((image*height+r)*width+s)*in+k%in])
					}
				}
				for o := range out {
					sums = append(sums, f.sum(column, weights[o])-x.zeroPoint*totals[o]+int32(bias.data[o]))
				}
			}
		}
	}
	y.at = func(i int) float32 { return float32(sums[i]) * (x.scale * float32(scales[i%out])) }
	return y
}

func (f *integers) sum(column, weights []int32) (sum int32) {
	if !f.saturate {
		for k, v := range column {
			sum += v * weights[k]
		}
		return sum
	}
	for k := 0; k < len(column); k += 2 {
		pair := column[k] * weights[k]
		if k+1 < len(column) {
			pair += column[k+1] * weights[k+1]
		}
		sum += min(max(pair, math.MinInt16), math.MaxInt16)
	}
	return sum
}

// maxPoolOf is 3×3 with stride 2 and padding 1.
func maxPoolOf(x quantized) quantized {
	images, height, width, channels := x.shape[0], x.shape[1], x.shape[2], x.shape[3]
	y := x
	y.shape, y.data = []int{images, (height + 1) / 2, (width + 1) / 2, channels}, nil
	for image := range images {
		for i := range y.shape[1] {
			for j := range y.shape[2] {
				for c := range channels {
					most := uint8(0)
					for r := max(0, 2*i-1); r <= min(height-1, 2*i+1); r++ {
						for s := max(0, 2*j-1); s <= min(width-1, 2*j+1); s++ {
							most = max(most, x.data[((image*height+r)*width+s)*channels+c])
						}
					}
					y.data = append(y.data, most)
				}
			}
		}
	}
	return y
}

// compareIntegers gives each operator what ONNX Runtime gave it, in the files of dir, and compares: no value is more than
// one level away.
func compareIntegers(t *testing.T, f *integers, x array, dir string) {
	t.Helper()
	values, differ := 0, 0
	f.see = func(n onnxNode, y quantized) quantized {
		theirs, err := os.ReadFile(filepath.Join(dir, n.outputs[0]))
		must(t, err)
		planes, c := len(y.data)/y.shape[0]/y.shape[3], y.shape[3]
		for i, got := range y.data {
			image, pixel, channel := i/(planes*c), i/c%planes, i%c
			y.data[i] = theirs[(image*c+channel)*planes+pixel]
			values++
			if d := int(y.data[i]) - int(got); d != 0 {
				differ++
				if d*d > 1 {
					t.Fatalf("%s: element %d is %d, want %d", n.name, i, y.data[i], got)
				}
			}
		}
		return y
	}
	f.logits(x)
	f.see = nil
	if differ > 1+values/1000 {
		t.Errorf("%d of %d values differ by one level", differ, values)
	}
}

// sameClassesInIntegers compares the largest logits, from image to class.
func sameClassesInIntegers(t *testing.T, f *integers, x array, dir string) {
	t.Helper()
	theirs, same := readFloats(t, dir, ONNXOutput), 0
	want := f.logits(x)
	classes := len(want[0])
	for i, logits := range want {
		if slices.Index(logits, slices.Max(logits)) == argmax(theirs[i*classes:][:classes]) {
			same++
		}
	}
	if float64(same) < 0.995*float64(len(want)) {
		t.Errorf("in integers the class of %d of %d images is the same", same, len(want))
	}
}

// TestInt8OnProcessors: on the processors that hack/processors.sh emulates, ONNX Runtime computes what our integers say, and
// on those of the Raspberry Pi 4 and 5 the very same bits. $PROCESSORS is that script's folder: see make test-processors.
func TestInt8OnProcessors(t *testing.T) {
	folder := os.Getenv("PROCESSORS")
	if folder == "" {
		t.Skip("PROCESSORS is not set: use make test-processors")
	}
	t.Setenv("X64_PRECISION", "0")
	const few = 2
	all := int8Cases()
	for _, name := range []string{"many images", "LeakyReLU", "ImageNet stem"} {
		c, ok := all[name]
		if !ok {
			t.Fatalf("no case %s", name)
		}
		images := max(50, c.images)
		m := randomModel(t, c.spec, c.channels, c.size)
		signs(t, m)
		x := randomInput(m, images)
		first := array{append([]int{few}, x.shape[1:]...), x.data[:few*x.size()/images]}
		calibrate(t, m, first)
		model := int8Of(t, m, ONNXOptions{})
		logits := map[string][]float64{}
		for _, processor := range []string{"cortex-a72", "cortex-a76", "haswell"} {
			t.Run(name+" "+processor, func(t *testing.T) {
				dir := t.TempDir()
				at := func(file string) string { return filepath.Join(dir, file) }
				must(t, os.Mkdir(at("values"), 0o700))
				for file, content := range map[string][]byte{
					ONNXInt8File: model, "values.onnx": withQuantizedOutputs(t, model),
					"input.f32": encodeFloats(float32s(x.data)), "first.f32": encodeFloats(float32s(first.data)),
				} {
					must(t, os.WriteFile(at(file), content, 0o600))
				}
				onnxruntime.RunOn(t, filepath.Join(folder, processor), "quantized.mjs", at(ONNXInt8File), at("input.f32"), x.dims(), dir,
					at("values.onnx"), at("first.f32"), first.dims(), at("values"))
				f := &integers{onnxFile: parseONNX(t, model), saturate: processor == "haswell", t: t}
				compareIntegers(t, f, first, at("values"))
				sameClassesInIntegers(t, f, x, dir)
				logits[processor] = readFloats(t, dir, ONNXOutput)
			})
		}
		if !slices.Equal(logits["cortex-a72"], logits["cortex-a76"]) {
			t.Errorf("%s: a Raspberry Pi 4 computes other bits than a Raspberry Pi 5", name)
		}
	}
}
