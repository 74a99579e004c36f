package data

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// production makes batches in the background, and serves them in order.
type production struct {
	batches int
	// begin returns how many images a batch has, from 0, and sets its labels.
	begin func(batch int, labels []int64) int
	// make makes image i of a batch.
	make func(k *kit, dst []byte, batch, i int) error

	most, bytes int // images of a batch at most, and bytes of an image
	chunk       int // images that a worker makes at once
	crew        *crew
}

// crew is how many workers there are. It grows when those who ask for batches have to wait, up to most, and stays as it
// is in the next epoch.
type crew struct {
	size, most int
	waited     atomic.Int64 // nanoseconds
}

// newCrew begins with one worker for every four processors, and at most eight: the other ones compute.
func newCrew(most int) *crew {
	return &crew{size: min(max(runtime.GOMAXPROCS(0)/4, 1), 8, most), most: most}
}

// patience is the share of the time that a batch may be waited for before the crew grows.
const patience = 0.02

// waits notes how long a batch was waited for, since the one before was asked for, and tells whether to grow.
func (c *crew) waits(wait, since time.Duration) bool {
	c.waited.Add(int64(wait))
	if float64(wait) <= patience*float64(since) || c.size >= c.most {
		return false
	}
	c.size++
	return true
}

// ahead is how many batches there are: the caller has one, one is ready, and one is made.
const ahead = 3

// order is a batch to be made.
type order struct {
	Batch
	number int
	left   atomic.Int32
	done   chan struct{}

	mu     sync.Mutex
	err    error // of the first image that has one
	failed int
}

// task is some images of an order.
type task struct {
	*order
	from, to int
}

// serve yields the batches, or the first error. Which that is does not depend on the number of workers. When ctx is
// cancelled the sequence ends early.
func (p *production) serve(ctx context.Context) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		free, queue, tasks := make(chan *order, ahead), make(chan *order, ahead), make(chan task)
		for range min(ahead, p.batches) {
			free <- &order{Batch: Batch{Pixels: make([]byte, p.most*p.bytes), Labels: make([]int64, p.most)}}
		}
		wg.Go(func() { p.give(ctx, free, queue, tasks) })
		hire := func() { wg.Go(func() { p.work(ctx, tasks) }) }
		for range p.crew.size {
			hire()
		}
		asked := time.Now()
		for n := range p.batches {
			start := time.Now()
			o, ok := take(ctx, queue)
			if !ok {
				return
			}
			if _, ok := take(ctx, o.done); !ok {
				return
			}
			now := time.Now()
			if wait, since := now.Sub(start), now.Sub(asked); n < ahead { // they had no time to be made
				p.crew.waited.Add(int64(wait))
			} else if p.crew.waits(wait, since) {
				hire()
			}
			asked = now
			if o.err != nil {
				yield(Batch{}, o.err)
				return
			}
			if !yield(Batch{Pixels: o.Pixels[:o.N*p.bytes], Labels: o.Labels[:o.N], N: o.N}, nil) {
				return
			}
			free <- o
		}
	}
}

// take receives, unless ctx ends before.
func take[T any](ctx context.Context, from <-chan T) (v T, ok bool) {
	select {
	case v = <-from:
		return v, true
	case <-ctx.Done():
		return v, false
	}
}

// give hands out what is to be made.
func (p *production) give(ctx context.Context, free <-chan *order, queue chan<- *order, tasks chan<- task) {
	for n := range p.batches {
		o, ok := take(ctx, free)
		if !ok {
			return
		}
		o.number, o.done = n, make(chan struct{}, 1)
		o.N = p.begin(n, o.Labels)
		o.left.Store(int32(o.N))
		queue <- o
		for from := 0; from < o.N; from += p.chunk {
			select {
			case tasks <- task{o, from, min(from+p.chunk, o.N)}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// work makes images until ctx ends.
func (p *production) work(ctx context.Context, tasks <-chan task) {
	k := &kit{}
	for {
		t, ok := take(ctx, tasks)
		if !ok {
			return
		}
		for i := t.from; i < t.to; i++ {
			if err := p.make(k, t.Pixels[i*p.bytes:(i+1)*p.bytes], t.number, i); err != nil {
				t.fail(i, err)
			}
		}
		if t.left.Add(int32(t.from-t.to)) == 0 {
			t.done <- struct{}{}
		}
	}
}

func (o *order) fail(i int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || i < o.failed {
		o.err, o.failed = err, i
	}
}
