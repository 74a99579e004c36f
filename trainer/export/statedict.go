package export

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pickle"
)

// ReadWeights reads the weights of a network from a PyTorch file (.pt, .pth) or a safetensors file, whichever it is, and
// brings them into the form of our own state dicts:
//
//   - floats of other precisions become F32, integers I64;
//   - the prefixes that wrappers put before every name (module., _orig_mod., model., net.) are dropped;
//   - names as in kuangliu/pytorch-cifar (shortcut, linear) become torchvision's (downsample, fc);
//   - num_batches_tracked is 0 where it is missing beside a running_var: PyTorch before 0.4.1 had none.
//
// The error is one line without the file's name. Whether the tensors fit a network is for the network to say.
func ReadWeights(data []byte) (checkpoint.StateDict, error) {
	d, err := read(data)
	if err != nil {
		return nil, err
	}
	if len(d) == 0 {
		return nil, errors.New("it holds no tensors")
	}
	named := make(checkpoint.StateDict, len(d))
	prefix := commonPrefix(d)
	for name, t := range d {
		named[torchvisionName(strings.TrimPrefix(name, prefix))] = widen(t)
	}
	if len(named) != len(d) {
		return nil, errors.New("two of its tensors have the same name in torchvision's network")
	}
	for name := range maps.Clone(named) {
		if norm, ok := strings.CutSuffix(name, ".running_var"); ok {
			counter := norm + ".num_batches_tracked"
			if _, ok := named[counter]; !ok {
				named[counter] = checkpoint.Tensor{DType: "I64", Shape: []int64{}, Data: make([]byte, 8)}
			}
		}
	}
	return named, nil
}

func read(data []byte) (checkpoint.StateDict, error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return ReadPT(data)
	case len(data) > 0 && data[0] == pickle.OpProto:
		return nil, errors.New("it was written by PyTorch before 1.6, or is a plain pickle: load it there and save it again with torch.save")
	case len(data) < 9 || data[8] != '{':
		return nil, errors.New("it is neither a PyTorch nor a safetensors file")
	}
	d, _, err := checkpoint.DecodeSafetensors(data)
	if err != nil {
		return nil, fmt.Errorf("it is no safetensors file: %w", err)
	}
	return d, nil
}

// nestedIn are the keys under which training scripts save a state dict beside other things.
var nestedIn = []string{"state_dict", "model_state_dict", "model", "net", "model_ema", "module"}

// findStateDict returns the tensors of a state dict, or of one within it.
func findStateDict(root any) (map[string]view, error) {
	d, ok := root.(*pickle.Dict)
	if !ok {
		return nil, errors.New("it holds no dict: save model.state_dict()")
	}
	for range 2 { // some wrap twice
		inner := nested(d)
		if inner == nil {
			break
		}
		d = inner
	}
	views := map[string]view{}
	for i, key := range d.Keys {
		name, ok := key.(string)
		if v, isTensor := d.Values[i].(view); ok && isTensor {
			views[name] = v
		} else if ok {
			return nil, fmt.Errorf("key %.80q holds no tensor: save model.state_dict(), alone or under the key \"state_dict\"", name)
		} else {
			return nil, fmt.Errorf("a key is no text: save model.state_dict(), alone or under the key \"state_dict\"")
		}
	}
	return views, nil
}

func nested(d *pickle.Dict) *pickle.Dict {
	for _, want := range nestedIn {
		for i, key := range d.Keys {
			if inner, ok := d.Values[i].(*pickle.Dict); ok && key == want {
				return inner
			}
		}
	}
	return nil
}

// known says what to do about a class or function that has no place in the pickle of a state dict.
func known(g pickle.Global) error {
	switch g {
	case "collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict", "torch._utils._rebuild_tensor_v2",
		"torch._utils._rebuild_parameter", "torch.Size", "torch.device":
		return nil
	}
	if class, ok := strings.CutPrefix(string(g), "torch."); ok && dtypeOf[class] != "" {
		return nil
	}
	name := fmt.Sprintf("%.80q", strings.ReplaceAll(string(g), "\n", " "))
	return fmt.Errorf("the pickle refers to %s, which is no part of a state dict and is not run: save model.state_dict() alone", name)
}

// call does what a known function would do, as far as tensors need it.
func call(f pickle.Global, args pickle.Tuple) (any, error) {
	switch f {
	case "collections.OrderedDict", "collections.defaultdict":
		return &pickle.Dict{}, nil
	case "torch.Size", "torch.device":
		return pickle.Ignored{}, nil
	case "torch._utils._rebuild_parameter": // (data, requires_grad, hooks)
		if len(args) > 0 {
			if v, ok := args[0].(view); ok {
				return v, nil
			}
		}
	case "torch._utils._rebuild_tensor_v2": // (storage, offset, size, stride, requires_grad, hooks, metadata)
		if len(args) >= 4 {
			s, ok1 := args[0].(*storage)
			offset, ok2 := args[1].(int64)
			shape, ok3 := ints(args[2])
			strides, ok4 := ints(args[3])
			if ok1 && ok2 && ok3 && ok4 {
				return view{s, offset, shape, strides}, nil
			}
		}
	}
	return nil, fmt.Errorf("the pickle is malformed: it calls %s with other arguments than torch.save does", f)
}

func ints(v any) ([]int64, bool) {
	t, ok := v.(pickle.Tuple)
	out := make([]int64, len(t))
	for i, item := range t {
		n, isInt := item.(int64)
		ok = ok && isInt
		out[i] = n
	}
	return out, ok
}

// commonPrefix returns what wrappers put before every name.
func commonPrefix(d checkpoint.StateDict) string {
	prefix := ""
	for range 3 { // such as DataParallel around torch.compile
		for _, p := range []string{"module.", "_orig_mod.", "model.", "net."} {
			if allBegin(d, prefix+p) {
				prefix += p
				break
			}
		}
	}
	return prefix
}

func allBegin(d checkpoint.StateDict, prefix string) bool {
	for name := range d {
		if !strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// torchvisionName of a tensor that kuangliu/pytorch-cifar named.
func torchvisionName(name string) string {
	if rest, ok := strings.CutPrefix(name, "linear."); ok {
		return "fc." + rest
	}
	return strings.Replace(name, ".shortcut.", ".downsample.", 1)
}

// sizeOf an element of a dtype in bytes.
var sizeOf = map[string]int64{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

// widen returns floats as F32 and integers as I64; F64 is rounded.
func widen(t checkpoint.Tensor) checkpoint.Tensor {
	size := sizeOf[t.DType]
	var get func(b []byte) uint32
	switch t.DType {
	case "F64":
		get = func(b []byte) uint32 {
			return math.Float32bits(float32(math.Float64frombits(binary.LittleEndian.Uint64(b))))
		}
	case "F16":
		get = func(b []byte) uint32 { return halfToFloat(binary.LittleEndian.Uint16(b)) }
	case "BF16":
		get = func(b []byte) uint32 { return uint32(binary.LittleEndian.Uint16(b)) << 16 }
	case "I32":
		out := make([]byte, 0, 2*len(t.Data))
		for b := t.Data; int64(len(b)) >= size; b = b[size:] {
			out = binary.LittleEndian.AppendUint64(out, uint64(int32(binary.LittleEndian.Uint32(b))))
		}
		return checkpoint.Tensor{DType: "I64", Shape: t.Shape, Data: out}
	default:
		return t
	}
	out := make([]byte, 0, int64(len(t.Data))/size*4)
	for b := t.Data; int64(len(b)) >= size; b = b[size:] {
		out = binary.LittleEndian.AppendUint32(out, get(b))
	}
	return checkpoint.Tensor{DType: "F32", Shape: t.Shape, Data: out}
}

// halfToFloat returns the bits of a float32 with the value of an IEEE 754 half.
func halfToFloat(h uint16) uint32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exponent {
	case 0: // zero and subnormal: fraction · 2⁻²⁴
		return sign | math.Float32bits(float32(fraction)/(1<<24))
	case 0x1f: // infinity and NaN
		return sign | 0x7f800000 | fraction<<13
	default:
		return sign | (exponent+127-15)<<23 | fraction<<13
	}
}
