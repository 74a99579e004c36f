package export

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pickle"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// PT writes model.pt: the state dict as torch.save writes it, in the order of Module.state_dict. torch.load reads it also
// with weights_only=True, and with mmap=True.
func PT(w io.Writer, m *Model) error {
	n, err := m.check()
	if err != nil {
		return err
	}
	z := &ptWriter{zip: zip.NewWriter(w)}
	tensors := n.Tensors()
	z.add("data.pkl", pickleStateDict(tensors))
	z.add("byteorder", []byte("little"))
	for i, t := range tensors {
		z.add(fmt.Sprint("data/", i), m.State[t.Name].Data)
	}
	z.add("version", []byte("3\n"))
	if z.err != nil {
		return z.err
	}
	return z.zip.Close()
}

// ptWriter writes the records of a PyTorch archive: a zip file without compression or timestamps, whose records begin
// at multiples of 64 bytes.
type ptWriter struct {
	zip    *zip.Writer
	offset int64
	err    error
}

func (z *ptWriter) add(name string, data []byte) {
	if z.err != nil {
		return
	}
	const localHeader, extraHeader, alignment = 30, 4, 64
	name = "archive/" + name
	begin := z.offset + localHeader + int64(len(name)) + extraHeader
	padding := (alignment - begin%alignment) % alignment
	extra := []byte{'F', 'B', byte(padding), 0} // PyTorch's own mark for padding
	h := &zip.FileHeader{Name: name, Method: zip.Store, Extra: append(extra, make([]byte, padding)...),
		CRC32: crc32.ChecksumIEEE(data), CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data))}
	var record io.Writer
	if record, z.err = z.zip.CreateRaw(h); z.err == nil {
		_, z.err = record.Write(data)
	}
	z.offset = begin + padding + int64(len(data))
}

// storageOf is the class of a tensor's storage in module torch.
var storageOf = map[string]string{"F32": "FloatStorage", "I64": "LongStorage"}

// pickleStateDict is OrderedDict({name: torch._utils._rebuild_tensor_v2(storage, …)}) by protocol 2, where the i-th
// tensor is the whole of storage i.
func pickleStateDict(tensors []arch.Tensor) []byte {
	p := pickler{pickle.OpProto, 2}
	p.global("collections", "OrderedDict")
	p.op(pickle.OpEmptyTuple, pickle.OpReduce, pickle.OpMark)
	for i, t := range tensors {
		p.text(t.Name)
		p.global("torch._utils", "_rebuild_tensor_v2")
		p.op(pickle.OpMark)

		p.op(pickle.OpMark) // the persistent id of the storage
		p.text("storage")
		p.global("torch", storageOf[t.DType])
		p.text(fmt.Sprint(i))
		p.text("cpu")
		p.int(t.Elements())
		p.op(pickle.OpTuple, pickle.OpBinPersID)

		p.int(0) // offset
		p.ints(t.Shape)
		p.ints(contiguous(t.Shape))
		p.op(pickle.OpNewFalse) // requires_grad
		p.global("collections", "OrderedDict")
		p.op(pickle.OpEmptyTuple, pickle.OpReduce) // no backward hooks
		p.op(pickle.OpTuple, pickle.OpReduce)
	}
	p.op(pickle.OpSetItems, pickle.OpStop)
	return p
}

// contiguous returns the strides of a row-major tensor.
func contiguous(shape []int64) []int64 {
	strides := make([]int64, len(shape))
	stride := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = stride
		stride *= max(shape[i], 1)
	}
	return strides
}

// pickler appends opcodes.
type pickler []byte

func (p *pickler) op(ops ...byte) { *p = append(*p, ops...) }

func (p *pickler) global(module, name string) {
	p.op(pickle.OpGlobal)
	*p = append(*p, module+"\n"+name+"\n"...)
}

func (p *pickler) text(s string) {
	p.op(pickle.OpBinUnicode)
	*p = append(binary.LittleEndian.AppendUint32(*p, uint32(len(s))), s...)
}

func (p *pickler) int(n int64) {
	if n <= math.MaxInt32 {
		p.op(pickle.OpBinInt)
		*p = binary.LittleEndian.AppendUint32(*p, uint32(n))
		return
	}
	p.op(pickle.OpLong1, 8)
	*p = binary.LittleEndian.AppendUint64(*p, uint64(n))
}

func (p *pickler) ints(values []int64) {
	p.op(pickle.OpMark)
	for _, v := range values {
		p.int(v)
	}
	p.op(pickle.OpTuple)
}

// Safetensors returns model.safetensors.
func Safetensors(m *Model) ([]byte, error) {
	if _, err := m.check(); err != nil {
		return nil, err
	}
	all := map[string]string{"format": "pt"}
	maps.Copy(all, m.Metadata)
	return checkpoint.EncodeSafetensors(m.State, all)
}
