package data

import (
	"context"
	"encoding/binary"
	"io"
	"iter"
	"slices"
)

// Images are N labelled images of one size.
type Images struct {
	N, H, W, C int
	// Pixels has the shape N×H×W×C; nil if the images are not held in memory.
	Pixels []byte
	// Labels are indices into Dataset.Classes.
	Labels []int64

	encoded *encodedImages
}

// Batch is a part of Images. Its buffers are reused: they hold until the next batch is asked for.
type Batch struct {
	// Pixels has the shape N×H×W×C.
	Pixels []byte
	Labels []int64
	N      int
	Whole
}

// Whole is what the batches of all processes have in common in a step of the training.
type Whole struct {
	// Mix is how they are mixed. Where a loader serves a part of each batch (Slice), the image before the part comes first.
	Mix Mix
	// Weight is the sum of the weights of their classes; 0 without those.
	Weight float64
}

// Count is the number of batches of all images; the last one may be smaller.
func (im *Images) Count(batchSize int) int { return (im.N + batchSize - 1) / batchSize }

// Batches yields every stride-th batch, from number first (from 0) on, of the images in order, unchanged. It is for
// evaluation. The error, of an image that cannot be read, ends it; when ctx is cancelled it ends early.
func (im *Images) Batches(ctx context.Context, batchSize, first, stride int) iter.Seq2[Batch, error] {
	var places [][2]int
	for i := first * batchSize; i < im.N; i += stride * batchSize {
		places = append(places, [2]int{i, min(i+batchSize, im.N)})
	}
	if im.encoded == nil {
		size := im.H * im.W * im.C
		return func(yield func(Batch, error) bool) {
			for _, p := range places {
				if !yield(Batch{Pixels: im.Pixels[p[0]*size : p[1]*size], Labels: im.Labels[p[0]:p[1]], N: p[1] - p[0]}, nil) {
					return
				}
			}
		}
	}
	return im.serve(ctx, batchSize, len(places), func(batch int) int { return places[batch][1] - places[batch][0] },
		func(batch, i int) int { return places[batch][0] + i })
}

// Sample yields batches of images drawn from seed, each image at most once and unchanged, until there are as many batches
// or no image is left. It is for measurements that must not see one class after the other, as folders list them.
func (im *Images) Sample(ctx context.Context, seed int64, batchSize, batches int) iter.Seq2[Batch, error] {
	order := permutation(seed, 0, im.N)
	chunks := slices.Collect(slices.Chunk(order[:min(im.N, batchSize*batches)], batchSize))
	return im.serve(ctx, batchSize, len(chunks), func(batch int) int { return len(chunks[batch]) },
		func(batch, i int) int { return chunks[batch][i] })
}

// serve yields batches, of n(batch) images each, of which image i is the one with the index at(batch, i).
func (im *Images) serve(ctx context.Context, most, batches int, n func(batch int) int, at func(batch, i int) int) iter.Seq2[Batch, error] {
	p := &production{
		batches: batches, most: most, bytes: im.H * im.W * im.C, chunk: im.chunk(), crew: newCrew(im.mostWorkers()),
		begin: func(batch int, labels []int64) int {
			for i := range n(batch) {
				labels[i] = im.Labels[at(batch, i)]
			}
			return n(batch)
		},
		make: func(k *kit, dst []byte, batch, i int) error {
			pixels, err := im.image(k, at(batch, i))
			copy(dst, pixels)
			return err
		},
	}
	return p.serve(ctx)
}

// At returns the pixels of an image, which are not to be changed. It is for a few images: Batches are faster.
func (im *Images) At(index int) ([]byte, error) { return im.image(new(kit), index) }

// image returns an image, which holds until the kit is used again. It is not to be changed.
func (im *Images) image(k *kit, index int) ([]byte, error) {
	size := im.H * im.W * im.C
	if im.encoded == nil {
		return im.Pixels[index*size : (index+1)*size], nil
	}
	dst := grown(&k.taken, size)
	return dst, im.encoded.take(k, dst, index, im.C, im.encoded.choose)
}

// take makes an image of the same size by a frame in the picture of an index.
func (im *Images) take(k *kit, dst []byte, index int, choose framing) error {
	if im.encoded != nil {
		return im.encoded.take(k, dst, index, im.C, choose)
	}
	size := im.H * im.W * im.C
	k.frameOf(dst, im.Pixels[index*size:(index+1)*size], im.H, im.W, im.C, choose)
	return nil
}

// Digest writes what tells these images from others: labels, and pixels; the names of images that stay in their files.
func (im *Images) Digest(w io.Writer) {
	binary.Write(w, binary.LittleEndian, im.Labels)
	w.Write(im.Pixels)
	if im.encoded != nil {
		for _, i := range im.encoded.index {
			io.WriteString(w, im.encoded.contents.uri(int(i)))
		}
	}
}
