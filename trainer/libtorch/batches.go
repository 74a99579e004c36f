package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// BatchSource describes batches that a GPU makes for itself, see NewBatches.
type BatchSource struct {
	Pixels    []byte  // N×H×W×C
	Labels    []int64 // N
	BatchSize int
	// Served is the number of images of an epoch, whose batches follow one another in the order that Begin sets. 0: every batch is the
	// first images.
	Served    int
	H, W      int
	Mean, Std []float32 // of each channel
	// The augmentation is that of package data, with the same random numbers.
	Seed          int64
	Padding       int // of the random crop
	Reflect, Flip bool
	Cutout        int
	Fill          [3]byte // what cutout leaves
}

// Batches are the images of a data set in the memory of a GPU, which shuffles, augments and normalises them there.
type Batches struct {
	source                BatchSource
	pixels, labels, table Tensor
	order, epoch          Tensor // undefined if not shuffled
}

// NewBatches copies a data set to the GPU.
func NewBatches(source BatchSource) (b *Batches, err error) {
	n, size := len(source.Labels), source.H*source.W*len(source.Mean)
	if len(source.Mean) != len(source.Std) || size == 0 || len(source.Pixels) != n*size {
		return nil, fmt.Errorf("libtorch: batches: %d bytes are not %d images of %d×%d×%d", len(source.Pixels), n, source.H, source.W, len(source.Mean))
	}
	b = &Batches{source: source}
	err = Do(func(s *Scope) {
		b.pixels = s.Keep(upload(s, source.Pixels, uint8Type))
		b.labels = s.Keep(upload(s, source.Labels, Int64))
		if source.Served > 0 {
			b.order = s.Keep(s.Zeros([]int64{int64(source.Served)}, Int64, CUDA))
			b.epoch = s.Keep(s.Zeros([]int64{1}, Int64, CUDA))
		}
		b.table = s.Keep(s.make("pixel_table", func(out *C.lt_tensor) C.lt_message {
			return C.lt_pixel_table(C.int64_t(len(source.Mean)), (*C.float)(unsafe.SliceData(source.Mean)), (*C.float)(unsafe.SliceData(source.Std)), out)
		}))
	})
	return b, err
}

// Begin sets the order of the images in an epoch, if they are shuffled, without waiting for the steps that were asked for before.
func (b *Batches) Begin(epoch int32, order []int64) error {
	if err := Upload(b.epoch, []int64{int64(epoch)}); err != nil {
		return err
	}
	return Upload(b.order, order)
}

// SetImages replaces the images, by as many others, without waiting either.
func (b *Batches) SetImages(pixels []byte, labels []int64) error {
	if err := Upload(b.pixels, pixels); err != nil {
		return err
	}
	return Upload(b.labels, labels)
}

// At is batch number clock, an Int64 tensor of one element, of a shuffled epoch: images as Scope.Images makes them, and their labels.
func (b *Batches) At(s *Scope, clock Tensor) (images, labels Tensor) {
	var classes C.lt_tensor
	images = s.make("batch", func(out *C.lt_tensor) C.lt_message {
		from := &b.source
		source := C.lt_device_batch_source{
			pixels: c(b.pixels), labels: c(b.labels), table: c(b.table),
			n: C.int64_t(from.BatchSize), h: C.int64_t(from.H), w: C.int64_t(from.W), c: C.int64_t(len(from.Mean)),
			seed: C.uint64_t(from.Seed), padding: C.int(from.Padding), cutout: C.int(from.Cutout),
		}
		if from.Served > 0 {
			source.order, source.epoch = c(b.order), c(b.epoch)
		}
		if from.Reflect {
			source.reflect = 1
		}
		if from.Flip {
			source.flip = 1
		}
		for i, value := range from.Fill {
			source.fill[i] = C.uint8_t(value)
		}
		return C.lt_device_batch(&source, c(clock), out, &classes)
	}, b.pixels, b.labels, b.table, clock)
	runtime.KeepAlive(b)
	labels = s.make("batch_labels", func(out *C.lt_tensor) C.lt_message {
		*out = classes
		return nil
	})
	return images, labels
}

const uint8Type DType = 0

// upload copies values to a new tensor on the GPU.
func upload[T byte | int64 | float64](s *Scope, values []T, t DType) Tensor {
	return s.make("upload", func(out *C.lt_tensor) C.lt_message {
		return C.lt_upload(unsafe.Pointer(unsafe.SliceData(values)), C.int64_t(len(values)), C.int(t), out)
	})
}

// Upload copies values to the GPU.
func (s *Scope) Upload(values []float64) Tensor { return upload(s, values, Float64) }

// Upload overwrites a tensor, without waiting for what was asked of a GPU before: that still sees the old values.
func Upload[T byte | int64 | float32 | float64](to Tensor, values []T) error {
	var one T
	return call("upload", func() C.lt_message {
		return C.lt_upload_to(c(to), unsafe.Pointer(unsafe.SliceData(values)), C.int64_t(len(values)*int(unsafe.Sizeof(one))))
	}, to)
}
