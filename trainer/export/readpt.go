package export

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pickle"
)

// maxPickle bounds the pickle of a .pt file. That of a state dict has some hundred bytes a tensor.
const maxPickle = 4 << 20

// maxGrowth bounds all tensors together, as a multiple of the file: half precision doubles when widened, and views may
// share a storage.
const maxGrowth = 4

// ReadPT reads the tensors of a file that torch.save wrote (PyTorch 1.6 and later): of a state dict, or of the first
// one found under one of the keys that training scripts use, such as "state_dict" or "model". Views come out contiguous.
// Nothing in the file is run, and memory stays within a few times its size.
func ReadPT(data []byte) (checkpoint.StateDict, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	pickled, err := a.record("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	if order, err := a.record("byteorder", 16); err == nil && string(order) != "little" {
		return nil, fmt.Errorf("it has %.20q byte order, only \"little\" can be read", order)
	}
	r := &pickle.Reader{Known: known, Call: call, Persistent: a.storage}
	root, err := r.Read(pickled)
	if err != nil {
		return nil, err
	}
	views, err := findStateDict(root)
	if err != nil {
		return nil, err
	}
	return a.materialise(views)
}

// archive is a zip file of records "<folder>/<name>".
type archive struct {
	data     []byte
	folder   string
	records  map[string]*zip.File
	storages map[string]*storage
	read     int64 // bytes of records so far
}

// storage is the memory of one or more tensors.
type storage struct {
	dtype string
	data  []byte
}

// view is a tensor within a storage, as torch._utils._rebuild_tensor_v2 takes it: counted in elements.
type view struct {
	storage        *storage
	offset         int64
	shape, strides []int64
}

func openArchive(data []byte) (*archive, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("it is no zip archive as PyTorch 1.6 and later write it (%w): load it there and save it again", err)
	}
	a := &archive{data: data, records: map[string]*zip.File{}, storages: map[string]*storage{}}
	for _, f := range z.File {
		if folder, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok && !strings.Contains(folder, "/") {
			a.folder = folder
		}
	}
	for _, f := range z.File {
		if name, ok := strings.CutPrefix(f.Name, a.folder+"/"); ok {
			a.records[name] = f
		}
	}
	if a.records["constants.pkl"] != nil {
		return nil, errors.New("it is a TorchScript program, not a state dict: save model.state_dict()")
	}
	return a, nil
}

// record returns a slice of the file: records are not compressed.
func (a *archive) record(name string, limit int64) ([]byte, error) {
	f := a.records[name]
	if f == nil {
		return nil, fmt.Errorf("its record %.40q is missing", name)
	}
	size := int64(f.UncompressedSize64)
	if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 {
		return nil, fmt.Errorf("its record %.40q is compressed, torch.save does not do that", name)
	}
	if size > limit || size < 0 {
		return nil, fmt.Errorf("its record %.40q has %d bytes, at most %d are expected", name, f.UncompressedSize64, limit)
	}
	offset, err := f.DataOffset()
	if err != nil || offset < 0 || offset > int64(len(a.data)) || size > int64(len(a.data))-offset {
		return nil, fmt.Errorf("its record %.40q is cut off", name)
	}
	if a.read += size; a.read > int64(len(a.data)) {
		return nil, errors.New("its records overlap")
	}
	r, err := f.Open() // which verifies the checksum
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return nil, fmt.Errorf("its record %.40q is damaged: %w", name, err)
	}
	return a.data[offset : offset+size : offset+size], nil
}

// dtypeOf the elements of a storage class in module torch.
var dtypeOf = map[string]string{
	"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
	"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}

// storage returns that of a persistent id: ("storage", class, key, location, number of elements).
func (a *archive) storage(id pickle.Tuple) (any, error) {
	if len(id) != 5 || id[0] != "storage" {
		return nil, errors.New("the pickle is malformed: it refers to something that is no storage")
	}
	class, _ := id[1].(pickle.Global)
	key, ok := id[2].(string)
	count, ok2 := id[4].(int64)
	dtype, ok3 := dtypeOf[strings.TrimPrefix(string(class), "torch.")]
	if !ok || !ok2 || !ok3 {
		return nil, errors.New("the pickle is malformed: it describes no storage")
	}
	if s := a.storages[key]; s != nil {
		if s.dtype != dtype || int64(len(s.data)) != count*sizeOf[dtype] {
			return nil, fmt.Errorf("its record %.40q is used with two types", "data/"+key)
		}
		return s, nil
	}
	data, err := a.record("data/"+key, int64(len(a.data)))
	if err != nil {
		return nil, err
	}
	if count < 0 || count > int64(len(data)) || int64(len(data)) != count*sizeOf[dtype] {
		return nil, fmt.Errorf("its record %.40q has %d bytes, %d elements of %s were announced", "data/"+key, len(data), count, dtype)
	}
	a.storages[key] = &storage{dtype, data}
	return a.storages[key], nil
}

// materialise copies the views, contiguous.
func (a *archive) materialise(views map[string]view) (checkpoint.StateDict, error) {
	d := make(checkpoint.StateDict, len(views))
	budget := maxGrowth * int64(len(a.data))
	for name, v := range views {
		size := sizeOf[v.storage.dtype]
		bytes, err := v.size(size)
		if err == nil && bytes > budget {
			err = fmt.Errorf("the tensors have more than %d times the bytes of the file", maxGrowth)
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %.80q: %w", name, err)
		}
		budget -= bytes
		d[name] = checkpoint.Tensor{DType: v.storage.dtype, Shape: v.shape, Data: v.copy(bytes, size)}
	}
	return d, nil
}

// size in bytes of the tensor, or an error if it does not lie within its storage.
func (v view) size(element int64) (int64, error) {
	limit := int64(len(v.storage.data))
	if len(v.shape) != len(v.strides) || len(v.shape) > 16 {
		return 0, fmt.Errorf("%d dimensions and %d strides do not go together", len(v.shape), len(v.strides))
	}
	outside := fmt.Errorf("shape %v, strides %v, offset %d lie outside of a storage of %d elements", v.shape, v.strides, v.offset, limit/element)
	if v.offset < 0 || v.offset > limit/element || slices.ContainsFunc(slices.Concat(v.shape, v.strides), func(n int64) bool { return n < 0 }) {
		return 0, outside
	}
	if slices.Contains(v.shape, 0) {
		return 0, nil
	}
	total, last := element, v.offset
	for i, n := range v.shape {
		if n > 1 && v.strides[i] > limit/(n-1) || n > (maxGrowth*limit)/total+1 {
			return 0, outside
		}
		if last += (n - 1) * v.strides[i]; last > limit {
			return 0, outside
		}
		total *= n
	}
	if last >= limit/element {
		return 0, outside
	}
	return total, nil
}

// copy returns the elements in row-major order.
func (v view) copy(bytes, element int64) []byte {
	source := v.storage.data[v.offset*element:]
	if bytes == 0 || slices.Equal(v.strides, contiguous(v.shape)) {
		return slices.Clone(source[:bytes])
	}
	out := make([]byte, 0, bytes)
	index := make([]int64, len(v.shape))
	for at := int64(0); ; {
		out = append(out, source[at*element:(at+1)*element]...)
		i := len(index) - 1
		for ; i >= 0; i-- { // as a car's odometer
			at += v.strides[i]
			if index[i]++; index[i] < v.shape[i] {
				break
			}
			at -= index[i] * v.strides[i]
			index[i] = 0
		}
		if i < 0 {
			return out
		}
	}
}
