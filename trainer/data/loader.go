package data

import (
	"context"
	"iter"
	"runtime"
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
	mixer     *mixer    // nil: none
	weights   []float64 // of the classes, in the loss; nil: none
	classes   [][]int   // the images of each, where they are drawn evenly; else nil
	crew      *crew
	err       error // that ended the last epoch
}

// NewLoader returns a loader over the training images of d. The error, if the recipe does not fit the images, has the
// exit code 64.
func NewLoader(d *Dataset, batchSize int, aug v1.AugmentationSpec, seed int64) (*Loader, error) {
	a, err := newAugmenter(d, aug)
	if err != nil {
		return nil, err
	}
	return &Loader{images: &d.Train, batchSize: batchSize, n: batchSize, seed: seed, augment: a,
		mixer: newMixer(aug, d.Train.H, d.Train.W), crew: newCrew(d.Train.mostWorkers())}, nil
}

// Balance draws the images of an epoch with replacement, all classes alike often: PyTorch's
// WeightedRandomSampler(weights, N), where an image weighs 1 / the number of images of its class.
func (l *Loader) Balance() { l.classes = l.images.byClass() }

// Weigh says what each class weighs in the loss, for Whole.Weight.
func (l *Loader) Weigh(weights []float64) { l.weights = weights }

// Slice makes the loader serve slice rank (from 0) of each batch, of so many slices of the same size. All of them
// together are the very images of the whole batch. Where batches are mixed, the image before comes with each slice.
func (l *Loader) Slice(rank, slices int) {
	l.n = l.batchSize / slices
	l.first = rank * l.n
}

// mostWorkers is how many workers can be of use. While some wait for a disk or a network, others decode.
func (im *Images) mostWorkers() int {
	if im.encoded != nil {
		return 2 * runtime.GOMAXPROCS(0)
	}
	return runtime.GOMAXPROCS(0)
}

// chunk is how many images a worker makes at once: they should take it longer than to ask for them.
func (im *Images) chunk() int {
	if im.encoded != nil {
		return 1
	}
	return 32
}

// StepsPerEpoch is the number of full batches. The images that are left over are other ones in every epoch.
func (l *Loader) StepsPerEpoch() int { return l.images.N / l.batchSize }

// BatchSize is the number of images of a batch that this loader serves: see Slice.
func (l *Loader) BatchSize() int {
	if l.Before() {
		return l.n + 1
	}
	return l.n
}

// Before reports whether the image before a slice comes with it.
func (l *Loader) Before() bool { return l.mixer != nil && l.n < l.batchSize }

// Mixes reports whether batches are mixed.
func (l *Loader) Mixes() bool { return l.mixer != nil }

// Whole is what is known of the whole batch of each step of an epoch.
func (l *Loader) Whole(epoch int32) func(step int) Whole {
	var order []int
	if l.weights != nil {
		order = l.order(epoch)
	}
	return func(step int) (w Whole) {
		if l.mixer != nil {
			w.Mix = l.mixer.draw(l.seed, epoch, step)
		}
		if l.weights != nil {
			for _, drawn := range order[step*l.batchSize:][:l.batchSize] {
				w.Weight += l.weights[l.images.Labels[drawn%l.images.N]]
			}
		}
		return w
	}
}

// order is which images come when in an epoch. An image that is drawn again has its index and a multiple of the number
// of images: what is random about it is drawn anew.
func (l *Loader) order(epoch int32) []int {
	if l.classes == nil {
		return permutation(l.seed, epoch, l.images.N)
	}
	return balanced(l.seed, epoch, l.images.N, l.classes)
}

// served are those of a batch that this loader serves.
func (l *Loader) served(order []int, step int) []int {
	batch := order[step*l.batchSize:][:l.batchSize]
	part := batch[l.first:][:l.n]
	if l.Before() {
		before := batch[(l.first+l.batchSize-1)%l.batchSize]
		return append([]int{before}, part...)
	}
	return part
}

// Order is the order in which the images of an epoch are served, StepsPerEpoch times BatchSize, for those who make the batches
// themselves.
func (l *Loader) Order(epoch int32) []int64 {
	all, order := l.order(epoch), make([]int64, 0, l.StepsPerEpoch()*l.BatchSize())
	for step := range l.StepsPerEpoch() {
		for _, index := range l.served(all, step) {
			order = append(order, int64(index))
		}
	}
	return order
}

// Crops returns the augmentation if it is one of random crop, horizontal flip and cutout, which a GPU can make as well.
func (l *Loader) Crops() (c Crops, ok bool) {
	a := l.augment
	return Crops{a.padding, a.reflect, a.flip, a.cutout, a.fill},
		l.images.encoded == nil && l.classes == nil && a.crop == nil && a.policy == nil && a.erasing == nil && !a.jitter.on() && a.c <= len(a.fill)
}

// Crops are the random crop, horizontal flip and cutout of an augmentation.
type Crops struct {
	Padding       int
	Reflect, Flip bool
	Cutout        int
	Fill          [3]byte
}

// Begin returns the first n images of the training, or as many as there are, as they are served.
func (l *Loader) Begin(n int) (Batch, error) {
	im := l.images
	size := im.H * im.W * im.C
	n = min(n, im.N)
	b := Batch{Pixels: make([]byte, n*size), Labels: make([]int64, n), N: n}
	var k kit
	for i, index := range l.order(0)[:n] {
		if err := l.image(&k, b.Pixels[i*size:(i+1)*size], 0, index); err != nil {
			return Batch{}, err
		}
		b.Labels[i] = im.Labels[index%im.N]
	}
	return b, nil
}

// Waited is how long callers of Epoch have waited for batches in all: time in which nothing was computed. The first
// batch of an epoch counts too.
func (l *Loader) Waited() time.Duration { return time.Duration(l.crew.waited.Load()) }

// Err is the error that ended the last epoch early: an image could not be read. It names the field and the file.
func (l *Loader) Err() error { return l.err }

// Epoch yields the batches of an epoch (from 0) from step firstStep (from 0) on. Further batches are made in the
// background while the caller works on one. When ctx is cancelled the sequence ends early: check ctx.Err(). So it does when
// an image cannot be read: check Err.
func (l *Loader) Epoch(ctx context.Context, epoch int32, firstStep int) iter.Seq[Batch] {
	im := l.images
	order, size, whole := l.order(epoch), l.BatchSize(), l.Whole(epoch)
	batches := max(l.StepsPerEpoch()-firstStep, 0)
	indices := make([][]int, batches)
	for step := range indices {
		indices[step] = l.served(order, firstStep+step)
	}
	p := &production{
		batches: batches, most: size, bytes: im.H * im.W * im.C, chunk: im.chunk(), crew: l.crew,
		begin: func(step int, labels []int64) int {
			for i, index := range indices[step] {
				labels[i] = im.Labels[index%im.N]
			}
			return size
		},
		make: func(k *kit, dst []byte, step, i int) error { return l.image(k, dst, epoch, indices[step][i]) },
	}
	return func(yield func(Batch) bool) {
		l.err = nil
		step := firstStep
		for b, err := range p.serve(ctx) {
			if l.err = err; err != nil {
				return
			}
			if b.Whole = whole(step); !yield(b) {
				return
			}
			step++
		}
	}
}

// image makes the image of an index as it is in an epoch: see order.
func (l *Loader) image(k *kit, dst []byte, epoch int32, drawn int) (err error) {
	im, a := l.images, l.augment
	g, index := stream(l.seed, epoch, drawn), drawn%l.images.N
	var src []byte
	if a.crop == nil {
		src, err = im.image(k, index)
	} else {
		src = grown(&k.taken, len(dst))
		err = im.take(k, src, index, func(h, w int) frame { return a.crop.draw(&g, h, w) })
	}
	if err == nil {
		a.apply(dst, src, grown(&k.scratch, 2*len(dst)), a.choose(&g))
	}
	return err
}
