package data

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Loader serves shuffled, augmented batches of training images. What it serves follows from the seed, the epoch and
// the index of an image alone: nothing of it needs to be saved for a resume.
type Loader struct {
	images    *Images
	batchSize int
	first, n  int // the part of each batch that is served
	seed      int64
	augment   *augmenter
	workers   int
	waited    atomic.Int64 // nanoseconds
}

// NewLoader returns a loader over the training images of d. The error, if the recipe does not fit the images, has the
// exit code 64.
func NewLoader(d *Dataset, batchSize int, aug v1.AugmentationSpec, seed int64) (*Loader, error) {
	a, err := newAugmenter(d, aug)
	if err != nil {
		return nil, err
	}
	return &Loader{images: &d.Train, batchSize: batchSize, n: batchSize, seed: seed, augment: a,
		workers: defaultWorkers()}, nil
}

// Slice makes the loader serve slice rank (from 0) of each batch, of so many slices of the same size. All of them
// together are the very images of the whole batch.
func (l *Loader) Slice(rank, slices int) {
	l.n = l.batchSize / slices
	l.first = rank * l.n
}

// defaultWorkers is one for every four processors, and at most eight: the other ones compute. docs/data.md says how many
// images a second a worker makes.
func defaultWorkers() int { return min(max(runtime.GOMAXPROCS(0)/4, 1), 8) }

// StepsPerEpoch is the number of full batches. The images that are left over are other ones in every epoch.
func (l *Loader) StepsPerEpoch() int { return l.images.N / l.batchSize }

// BatchSize is the number of images of a batch that this loader serves: see Slice.
func (l *Loader) BatchSize() int { return l.n }

// Order is the order in which the images of an epoch are served, StepsPerEpoch times BatchSize, for those who make the batches
// themselves.
func (l *Loader) Order(epoch int32) []int64 {
	all, order := permutation(l.seed, epoch, l.images.N), make([]int64, 0, l.StepsPerEpoch()*l.n)
	for step := range l.StepsPerEpoch() {
		for _, index := range all[step*l.batchSize+l.first:][:l.n] {
			order = append(order, int64(index))
		}
	}
	return order
}

// Crops returns the augmentation if it is one of random crop, horizontal flip and cutout, which a GPU can make as well.
func (l *Loader) Crops() (c Crops, ok bool) {
	a := l.augment
	return Crops{a.padding, a.reflect, a.flip, a.cutout, a.fill}, !a.trivial && !a.jitter.on() && a.c <= len(a.fill)
}

// Crops are the random crop, horizontal flip and cutout of an augmentation.
type Crops struct {
	Padding       int
	Reflect, Flip bool
	Cutout        int
	Fill          [3]byte
}

// Begin returns the first n images of the training, or as many as there are, as they are served.
func (l *Loader) Begin(n int) Batch {
	im := l.images
	size := im.H * im.W * im.C
	n = min(n, im.N)
	b := Batch{make([]byte, n*size), make([]int64, n), n}
	l.fill(b, 0, permutation(l.seed, 0, im.N), make([]byte, size))
	return b
}

// Waited is how long callers of Epoch have waited for batches in all: time in which nothing was computed. The first
// batch of an epoch counts too.
func (l *Loader) Waited() time.Duration { return time.Duration(l.waited.Load()) }

// Epoch yields the batches of an epoch (from 0) from step firstStep (from 0) on. Further batches are made in the
// background while the caller works on one. When ctx is cancelled the sequence ends early: check ctx.Err().
func (l *Loader) Epoch(ctx context.Context, epoch int32, firstStep int) iter.Seq[Batch] {
	return func(yield func(Batch) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()

		// Worker k makes the steps firstStep+k, firstStep+k+workers, …: so their order does not depend on who is faster.
		order := permutation(l.seed, epoch, l.images.N)
		lanes := make([]lane, min(l.workers, max(l.StepsPerEpoch()-firstStep, 1)))
		for k := range lanes {
			lanes[k] = l.newLane()
			wg.Go(func() { l.fillAll(ctx, epoch, order, firstStep+k, len(lanes), lanes[k]) })
		}
		for step := firstStep; step < l.StepsPerEpoch(); step++ {
			lane := lanes[(step-firstStep)%len(lanes)]
			start := time.Now()
			b, ok := <-lane.full
			l.waited.Add(int64(time.Since(start)))
			if !ok || !yield(b) {
				return
			}
			lane.free <- b
		}
	}
}

// lane takes two batches between a worker and the caller: the caller holds one, the other one is being filled or waits.
type lane struct{ free, full chan Batch }

func (l *Loader) newLane() lane {
	im := l.images
	p := lane{make(chan Batch, 2), make(chan Batch)}
	for range cap(p.free) {
		p.free <- Batch{make([]byte, l.n*im.H*im.W*im.C), make([]int64, l.n), l.n}
	}
	return p
}

// fillAll fills every stride-th batch of an epoch from step on and closes the lane at the end.
func (l *Loader) fillAll(ctx context.Context, epoch int32, order []int, step, stride int, p lane) {
	defer close(p.full)
	scratch := make([]byte, l.images.H*l.images.W*l.images.C)
	for ; step < l.StepsPerEpoch(); step += stride {
		var b Batch
		select {
		case b = <-p.free:
		case <-ctx.Done():
			return
		}
		l.fill(b, epoch, order[step*l.batchSize+l.first:], scratch)
		select {
		case p.full <- b:
		case <-ctx.Done():
			return
		}
	}
}

// fill makes one batch of the first images that indices names.
func (l *Loader) fill(b Batch, epoch int32, indices []int, scratch []byte) {
	im := l.images
	size := im.H * im.W * im.C
	for i := range b.N {
		index := indices[i]
		b.Labels[i] = im.Labels[index]
		g := stream(l.seed, epoch, index)
		l.augment.apply(b.Pixels[i*size:(i+1)*size], im.Pixels[index*size:(index+1)*size], scratch, l.augment.choose(&g))
	}
}
