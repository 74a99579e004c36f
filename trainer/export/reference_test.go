package export

import (
	"math"
	"slices"
	"testing"
)

// evaluate computes a graph in float64, as the specification of ONNX has its operators; what integers stand for is exact
// so. see is given every value and may put another in its place.
func (f *onnxFile) evaluate(t testing.TB, input array, see func(n onnxNode, x array) array) array {
	t.Helper()
	values := map[string]array{ONNXInput: input}
	for _, n := range f.nodes {
		var in []array
		for _, name := range n.inputs {
			x, ok := values[name]
			if !ok {
				x, ok = f.initializers[name]
			}
			if !ok {
				t.Fatalf("%s reads %s, which nobody writes", n.name, name)
			}
			in = append(in, x)
		}
		values[n.outputs[0]] = see(n, apply(t, n, in))
	}
	return values[ONNXOutput]
}

func apply(t testing.TB, n onnxNode, in []array) array {
	t.Helper()
	x := in[0]
	switch n.op {
	case "QuantizeLinear":
		return each(x, func(_ int, v float64) float64 {
			return min(max(math.RoundToEven(v/in[1].data[0])+in[2].data[0], 0), 255)
		})
	case "DequantizeLinear":
		perChannel := x.size() / len(in[1].data)
		return each(x, func(i int, v float64) float64 {
			c := i / perChannel // axis 0
			if len(in) > 2 {
				v -= in[2].data[c]
			}
			return v * in[1].data[c]
		})
	case "Conv":
		return conv(x, in[1:], n.ints["strides"][0], n.ints["pads"][0])
	case "Gemm":
		return gemm(x, in[1], in[2])
	case "Add":
		return with(x, in[1], func(a, b float64) float64 { return a + b })
	case "Mul":
		return with(x, in[1], func(a, b float64) float64 { return a * b })
	case "Sub":
		return with(x, in[1], func(a, b float64) float64 { return a - b })
	case "Div":
		return with(x, in[1], func(a, b float64) float64 { return a / b })
	case "Relu":
		return each(x, func(_ int, v float64) float64 { return max(v, 0) })
	case "LeakyRelu":
		return each(x, func(_ int, v float64) float64 { return max(v, n.floats["alpha"]*v) })
	case "Sigmoid":
		return each(x, func(_ int, v float64) float64 { return 1 / (1 + math.Exp(-v)) })
	case "Erf":
		return each(x, func(_ int, v float64) float64 { return math.Erf(v) })
	case "HardSigmoid":
		return each(x, func(_ int, v float64) float64 { return min(max(n.floats["alpha"]*v+n.floats["beta"], 0), 1) })
	case "MaxPool":
		return maxPool(x)
	case "GlobalAveragePool":
		return pool(x)
	case "Flatten":
		return array{[]int{x.shape[0], x.size() / x.shape[0]}, x.data}
	case "Reshape":
		return reshape(x, in[1])
	case "InstanceNormalization":
		return instanceNorm(x, in[1], in[2], n.floats["epsilon"])
	}
	t.Fatalf("no operator %s", n.op)
	return array{}
}

func each(x array, f func(i int, v float64) float64) array {
	y := array{x.shape, make([]float64, len(x.data))}
	for i, v := range x.data {
		y.data[i] = f(i, v)
	}
	return y
}

// with is f(x, y), where y has the shape of x, one value, or one for each channel.
func with(x, y array, f func(a, b float64) float64) array {
	plane := 1
	for _, s := range x.shape[2:] {
		plane *= s
	}
	return each(x, func(i int, v float64) float64 {
		switch len(y.data) {
		case len(x.data):
		case 1:
			i = 0
		default:
			i = i / plane % x.shape[1]
		}
		return f(v, y.data[i])
	})
}

func conv(x array, weights []array, stride, pad int64) array {
	w, s, p := weights[0], int(stride), int(pad)
	images, in, height, width := x.shape[0], x.shape[1], x.shape[2], x.shape[3]
	out, kernel := w.shape[0], w.shape[2]
	y := array{shape: []int{images, out, (height+2*p-kernel)/s + 1, (width+2*p-kernel)/s + 1}}
	y.data = make([]float64, y.size())
	h, wd := y.shape[2], y.shape[3]
	for image := range images {
		for o := range out {
			to := y.data[(image*out+o)*h*wd:][:h*wd]
			if len(weights) > 1 {
				for i := range to {
					to[i] = weights[1].data[o]
				}
			}
			for c := range in {
				from := x.data[(image*in+c)*height*width:][:height*width]
				for ky := range kernel {
					for kx := range kernel {
						v := w.data[((o*in+c)*kernel+ky)*kernel+kx]
						first := max(0, (p-kx+s-1)/s)
						last := min(wd-1, (width-1+p-kx)/s)
						for i := range h {
							if r := i*s + ky - p; r >= 0 && r < height {
								for j := first; j <= last; j++ {
									to[i*wd+j] += v * from[r*width+j*s+kx-p]
								}
							}
						}
					}
				}
			}
		}
	}
	return y
}

func gemm(x, w, bias array) array {
	n, in, out := x.shape[0], x.shape[1], w.shape[0]
	y := array{[]int{n, out}, make([]float64, n*out)}
	for i := range n {
		for o := range out {
			sum := bias.data[o]
			for k := range in {
				sum += x.data[i*in+k] * w.data[o*in+k]
			}
			y.data[i*out+o] = sum
		}
	}
	return y
}

// maxPool is 3×3 with stride 2 and padding 1.
func maxPool(x array) array {
	height, width := x.shape[2], x.shape[3]
	y := array{shape: []int{x.shape[0], x.shape[1], (height + 1) / 2, (width + 1) / 2}}
	for plane := range x.shape[0] * x.shape[1] {
		from := x.data[plane*height*width:][:height*width]
		for i := range y.shape[2] {
			for j := range y.shape[3] {
				most := math.Inf(-1)
				for r := max(0, 2*i-1); r <= min(height-1, 2*i+1); r++ {
					for c := max(0, 2*j-1); c <= min(width-1, 2*j+1); c++ {
						most = max(most, from[r*width+c])
					}
				}
				y.data = append(y.data, most)
			}
		}
	}
	return y
}

func pool(x array) array {
	plane := x.shape[2] * x.shape[3]
	y := array{shape: []int{x.shape[0], x.shape[1], 1, 1}}
	for values := range slices.Chunk(x.data, plane) {
		sum := 0.
		for _, v := range values {
			sum += v
		}
		y.data = append(y.data, sum/float64(plane))
	}
	return y
}

func reshape(x, shape array) array {
	y := array{data: x.data}
	rest := x.size()
	for i, s := range shape.data {
		if s == 0 {
			s = float64(x.shape[i])
		}
		if s > 0 {
			rest /= int(s)
		}
		y.shape = append(y.shape, int(s))
	}
	if i := slices.Index(y.shape, -1); i >= 0 {
		y.shape[i] = rest
	}
	return y
}

func instanceNorm(x, scale, bias array, eps float64) array {
	plane := x.size() / x.shape[0] / x.shape[1]
	y := array{shape: x.shape}
	for i := 0; i < len(x.data); i += plane {
		var mean, variance float64
		for _, v := range x.data[i : i+plane] {
			mean += v / float64(plane)
		}
		for _, v := range x.data[i : i+plane] {
			variance += (v - mean) * (v - mean) / float64(plane)
		}
		c := i / plane % x.shape[1]
		for _, v := range x.data[i : i+plane] {
			y.data = append(y.data, (v-mean)/math.Sqrt(variance+eps)*scale.data[c]+bias.data[c])
		}
	}
	return y
}
