package data

import (
	"context"
	"iter"
	"sync"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Loader serves shuffled, augmented batches of training images. What it serves follows from the seed, the epoch and
// the index of an image alone: nothing of it needs to be saved for a resume.
type Loader struct {
	images    *Images
	batchSize int
	seed      int64
	padding   int
	flip      bool
}

// NewLoader returns a loader over im.
func NewLoader(im *Images, batchSize int, aug v1.AugmentationSpec, seed int64) *Loader {
	l := &Loader{images: im, batchSize: batchSize, seed: seed}
	if aug.RandomCropPadding != nil {
		l.padding = int(*aug.RandomCropPadding)
	}
	if aug.HorizontalFlip != nil {
		l.flip = *aug.HorizontalFlip
	}
	return l
}

// StepsPerEpoch is the number of full batches. The images that are left over are other ones in every epoch.
func (l *Loader) StepsPerEpoch() int { return l.images.N / l.batchSize }

// Epoch yields the batches of an epoch (from 0) from step firstStep (from 0) on. The next batch is made in the
// background while the caller works on one. When ctx is cancelled the sequence ends early: check ctx.Err().
func (l *Loader) Epoch(ctx context.Context, epoch int32, firstStep int) iter.Seq[Batch] {
	return func(yield func(Batch) bool) {
		// Two batches: the caller holds one, the other one is being filled or waits.
		free, full := make(chan Batch, 2), make(chan Batch)
		free <- l.newBatch()
		free <- l.newBatch()

		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { l.fillAll(ctx, epoch, firstStep, free, full) })
		defer wg.Wait()
		defer cancel()
		for b := range full {
			if !yield(b) {
				return
			}
			free <- b
		}
	}
}

func (l *Loader) newBatch() Batch {
	im := l.images
	return Batch{make([]byte, l.batchSize*im.H*im.W*im.C), make([]int64, l.batchSize), l.batchSize}
}

// fillAll fills the batches of an epoch in turn and closes full at the end.
func (l *Loader) fillAll(ctx context.Context, epoch int32, firstStep int, free <-chan Batch, full chan<- Batch) {
	defer close(full)
	order := permutation(l.seed, epoch, l.images.N)
	for step := firstStep; step < l.StepsPerEpoch(); step++ {
		var b Batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return
		}
		l.fill(b, epoch, order[step*l.batchSize:])
		select {
		case full <- b:
		case <-ctx.Done():
			return
		}
	}
}

// fill makes one batch of the first images that indices names.
func (l *Loader) fill(b Batch, epoch int32, indices []int) {
	im := l.images
	size := im.H * im.W * im.C
	for i := range b.N {
		index := indices[i]
		b.Labels[i] = im.Labels[index]
		g := stream(l.seed, epoch, index)
		src, dst := im.Pixels[index*size:(index+1)*size], b.Pixels[i*size:(i+1)*size]
		cropFlip(dst, src, im.H, im.W, im.C, l.padding, draw(&g, l.padding, l.flip))
	}
}
