package export

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pickle"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// archiveOf is a PyTorch file with a pickle and storages 0, 1, ….
func archiveOf(content []byte, storages ...[]byte) []byte {
	var b bytes.Buffer
	z := &ptWriter{zip: zip.NewWriter(&b)}
	z.add("data.pkl", content)
	for i, s := range storages {
		z.add(fmt.Sprint("data/", i), s)
	}
	if z.err == nil {
		z.err = z.zip.Close()
	}
	if z.err != nil {
		panic(z.err)
	}
	return b.Bytes()
}

// tensorPickle is {"w": a tensor of the storage with this key}.
func tensorPickle(key string, count, offset int64, shape, strides []int64) []byte {
	p := pickler{pickle.OpProto, 2, pickle.OpEmptyDict}
	p.text("w")
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.op(pickle.OpMark, pickle.OpMark)
	p.text("storage")
	p.global("torch", "FloatStorage")
	p.text(key)
	p.text("cpu")
	p.int(count)
	p.op(pickle.OpTuple, pickle.OpBinPersID)
	p.int(offset)
	p.ints(shape)
	p.ints(strides)
	p.op(pickle.OpNewFalse, pickle.OpNone, pickle.OpTuple, pickle.OpReduce, pickle.OpSetItem, pickle.OpStop)
	return p
}

func pickled(build func(p *pickler)) []byte {
	p := pickler{pickle.OpProto, 2}
	build(&p)
	return append(p, pickle.OpStop)
}

func TestHostileFiles(t *testing.T) {
	four := make([]byte, 16) // 4 floats
	one, dense := []int64{4}, []int64{1}
	good := archiveOf(tensorPickle("0", 4, 0, one, dense), four)
	if _, err := ReadPT(good); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"runs a program": {archiveOf(pickled(func(p *pickler) {
			p.global("os", "system")
			p.op(pickle.OpMark)
			p.text("touch /tmp/owned")
			p.op(pickle.OpTuple, pickle.OpReduce)
		})), `"os.system", which is no part of a state dict and is not run`},
		"runs a program by protocol 4": {archiveOf(pickled(func(p *pickler) {
			p.text("posix")
			p.text("system")
			p.op(pickle.OpStackGlobal)
		})), `"posix.system"`},
		"control characters in a name": {archiveOf(pickled(func(p *pickler) { p.global("\x1b[2J", strings.Repeat("x", 1000)) })), `"\x1b[2J`},
		"calls a storage":              {archiveOf(pickled(func(p *pickler) { p.global("torch", "FloatStorage"); p.op(pickle.OpEmptyTuple, pickle.OpReduce) })), "calls torch.FloatStorage"},
		"calls a text":                 {archiveOf(pickled(func(p *pickler) { p.text("f"); p.op(pickle.OpEmptyTuple, pickle.OpReduce) })), "no function"},
		"path out of the file":         {archiveOf(tensorPickle("../../../etc/passwd", 4, 0, one, dense), four), "is missing"},
		"endless text":                 {archiveOf([]byte{pickle.OpProto, 2, pickle.OpBinUnicode, 0xff, 0xff, 0xff, 0xff}), "cut off"},
		"huge integer":                 {archiveOf([]byte{pickle.OpProto, 2, pickle.OpLong1, 0xff, 1}), "cut off"},
		"no stop":                      {archiveOf([]byte{pickle.OpProto, 2, pickle.OpNone}), "cut off"},
		"empty pickle":                 {archiveOf(nil), "cut off"},
		"empty stack":                  {archiveOf([]byte{pickle.OpStop}), "stack is empty"},
		"no mark":                      {archiveOf([]byte{pickle.OpNone, pickle.OpTuple, pickle.OpStop}), "mark is missing"},
		"nothing stored":               {archiveOf([]byte{pickle.OpBinGet, 7, pickle.OpStop}), "nothing was stored at 7"},
		"unknown instruction":          {archiveOf([]byte{'I', '1', '\n', pickle.OpStop}), "0x49"},
		"dict within itself": {archiveOf(pickled(func(p *pickler) {
			p.op(pickle.OpEmptyDict, pickle.OpMemoize)
			p.text("model")
			p.op(pickle.OpBinGet, 0, pickle.OpSetItem)
		})), `key "model" holds no tensor`},
		"pickle too large":        {archiveOf(make([]byte, maxPickle+1)), "at most"},
		"storage too short":       {archiveOf(tensorPickle("0", 5, 0, one, dense), four), "5 elements of F32 were announced"},
		"storage of no size":      {archiveOf(tensorPickle("0", math.MaxInt64/4+1, 0, one, dense), four), "were announced"},
		"negative count":          {archiveOf(tensorPickle("0", -4, 0, one, dense), four), "were announced"},
		"view past the end":       {archiveOf(tensorPickle("0", 4, 1, one, dense), four), "lie outside"},
		"negative offset":         {archiveOf(tensorPickle("0", 4, -1, one, dense), four), "lie outside"},
		"negative stride":         {archiveOf(tensorPickle("0", 4, 3, one, []int64{-1}), four), "lie outside"},
		"negative size":           {archiveOf(tensorPickle("0", 4, 0, []int64{0, -4}, []int64{1, 1}), four), "lie outside"},
		"stride overflows":        {archiveOf(tensorPickle("0", 4, 0, []int64{3, 3}, []int64{math.MaxInt64, 1}), four), "lie outside"},
		"size overflows":          {archiveOf(tensorPickle("0", 4, 0, []int64{1 << 40, 1 << 40}, []int64{0, 0}), four), "lie outside"},
		"expanded without end":    {archiveOf(tensorPickle("0", 4, 0, []int64{1 << 40}, []int64{0}), four), "lie outside"},
		"shape without strides":   {archiveOf(tensorPickle("0", 4, 0, one, nil), four), "do not go together"},
		"compressed":              {compressed(), "compressed"},
		"not PyTorch":             {zipOf("hello.txt"), `"data.pkl" is missing`},
		"TorchScript":             {zipOf("a/data.pkl", "a/constants.pkl"), "TorchScript"},
		"damaged":                 {bytes.Replace(good, []byte("FloatStorage"), []byte("FloutStorage"), 1), "checksum"},
		"overlapping":             {overlapping(), "overlap"},
		"empty":                   {nil, "neither a PyTorch nor a safetensors file"},
		"text":                    {[]byte("<html>not found</html>"), "neither a PyTorch nor a safetensors file"},
		"safetensors header":      {append(binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "{}"...), "no safetensors file"},
		"safetensors no tensors":  {append(binary.LittleEndian.AppendUint64(nil, 2), "{}"...), "no tensors"},
		"safetensors with a hole": {append(binary.LittleEndian.AppendUint64(nil, 58), `{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}     12345678`...), "no safetensors file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadWeights(test.file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if text := err.Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > 300 {
				t.Errorf("the error is no clear line: %q", text)
			}
		})
	}
}

func compressed() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, _ := z.Create("archive/data.pkl")
	w.Write(make([]byte, 1<<20))
	z.Close()
	return b.Bytes()
}

func zipOf(names ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range names {
		z.Create(name)
	}
	z.Close()
	return b.Bytes()
}

// overlapping has a second storage, whose entry in the directory points to the first one's bytes.
func overlapping() []byte {
	p := pickler{pickle.OpProto, 2, pickle.OpMark}
	for range 3 {
		inner := tensorPickle("0", 1<<12, 0, []int64{1}, []int64{1})
		p = append(p, inner[2:len(inner)-1]...)
	}
	p.op(pickle.OpTuple, pickle.OpStop)
	p = bytes.Replace(p, []byte("\x01\x00\x00\x000"), []byte("\x01\x00\x00\x001"), 1)
	data := archiveOf(p, make([]byte, 4<<12), make([]byte, 4<<12))
	first := bytes.LastIndex(data, []byte("archive/data/0")) - 46
	second := bytes.LastIndex(data, []byte("archive/data/1")) - 46
	copy(data[second+42:second+46], data[first+42:first+46])
	return append(data[:0:0], cut(data)...)
}

// cut drops the bytes of the last storage, which no entry of the directory points to, so that they do not count.
func cut(data []byte) []byte {
	begin := bytes.Index(data, []byte("archive/data/1")) - 30
	end := bytes.Index(data, []byte("PK\x01\x02"))
	moved := end - begin
	out := append(append([]byte(nil), data[:begin]...), data[end:]...)
	at := len(out) - 6 // offset of the directory
	binary.LittleEndian.PutUint32(out[at:], binary.LittleEndian.Uint32(out[at:])-uint32(moved))
	return out
}

// TestTruncatedFiles cuts files off at many places: always an error, never a panic.
func TestTruncatedFiles(t *testing.T) {
	m := randomModel(t, model(v1.BatchNorm, v1.ReLU, v1.StemCIFAR), 1, 8)
	var pt bytes.Buffer
	must(t, PT(&pt, m))
	st, err := Safetensors(m)
	must(t, err)
	for _, data := range [][]byte{pt.Bytes(), st} {
		for n := 0; n < len(data); n += 1 + n/50 {
			if _, err := ReadWeights(data[:n]); err == nil {
				t.Errorf("the first %d of %d bytes were read without an error", n, len(data))
			}
		}
	}
}

func FuzzReadWeights(f *testing.F) {
	f.Add(archiveOf(tensorPickle("0", 4, 0, []int64{2, 2}, []int64{1, 2}), make([]byte, 16)))
	f.Add(overlapping())
	f.Add(compressed())
	st, err := checkpoint.EncodeSafetensors(checkpoint.StateDict{"w": {DType: "F16", Shape: []int64{2}, Data: make([]byte, 4)}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(st)
	f.Fuzz(checkRead)
}

// FuzzPickle needs no checksums to be right.
func FuzzPickle(f *testing.F) {
	f.Add(tensorPickle("0", 4, 0, []int64{2, 2}, []int64{1, 2}))
	f.Add(tensorPickle("1", 2, 1, []int64{1}, []int64{1}))
	f.Add(pickled(func(p *pickler) {
		p.op(pickle.OpEmptyList, pickle.OpMemoize, pickle.OpNone, pickle.OpAppend, pickle.OpBinGet, 0, pickle.OpTuple2, pickle.OpPop, pickle.OpNone)
	}))
	f.Fuzz(func(t *testing.T, data []byte) { checkRead(t, archiveOf(data, make([]byte, 16), make([]byte, 8))) })
}

// checkRead reads data: what comes out is consistent and not much larger.
func checkRead(t *testing.T, data []byte) {
	d, err := ReadWeights(data)
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line: %q", err)
	}
	total := 0
	for name, tensor := range d {
		total += len(tensor.Data)
		if size, known := sizeOf[tensor.DType]; known && int64(len(tensor.Data)) != (arch.Tensor{Shape: tensor.Shape}).Elements()*size {
			t.Errorf("%q: %s%v has %d bytes", name, tensor.DType, tensor.Shape, len(tensor.Data))
		}
	}
	if total > 4*maxGrowth*len(data) {
		t.Errorf("%d bytes became %d", len(data), total)
	}
}
